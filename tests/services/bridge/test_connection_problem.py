"""What goes wrong with the broker is said in one sentence that names the remedy; then all is well again."""

from __future__ import annotations

import json
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import zmq
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from services.bridge.connection_problem import from_disconnect, name_in_use
from services.bridge.session import Backoff
from services.config import Mqtt
from tests.conftest import wait_for
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import CAR, Bridge, Client, Mosquitto, Producer, free_port, sequences

LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


def test_without_a_broker_in_the_settings_it_is_off(make_bridge: MakeBridge) -> None:
    make_bridge(host="").wait("off", "mqtt.host")


def test_an_absent_broker_is_named_and_found_when_it_comes(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    broker = make_mosquitto()
    broker.stop()
    bridge = make_bridge(port=broker.port)
    bridge.wait("degraded", f"No broker answers at 127.0.0.1:{broker.port}", "start it", "mqtt.host")
    producer.write(3)
    broker.start()
    bridge.wait("ready")
    bridge.wait_for(lambda beat: beat.counters.get("delivered") == 3 and beat.counters.get("backlog") == 0)


def test_a_broker_that_hangs_is_noticed_and_found_again(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port, keepalive=2)
    bridge.wait("ready")
    with broker.hanging():
        bridge.wait("degraded", "was lost")
        producer.write(3)
    bridge.wait("ready")
    bridge.wait_for(lambda beat: beat.counters.get("delivered") == 3)


def test_an_unknown_host_is_named(make_bridge: MakeBridge) -> None:
    make_bridge(host="no-such-broker.invalid").wait("degraded", "no-such-broker.invalid", "mqtt.host")


@pytest.fixture
def guarded(tmp_path: Path, make_mosquitto: MakeMosquitto) -> Mosquitto:
    """A broker that lets `car` in with the password `right`."""
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "car", "right"], check=True, capture_output=True
    )
    passwords.chmod(0o644)
    return make_mosquitto(f"allow_anonymous false\npassword_file {passwords}")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_no_loop_and_is_tried_again_once_its_file_changes(
    protocol: str, guarded: Mosquitto, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    bridge = make_bridge(port=guarded.port, protocol=protocol, username="car", password_file=secret)
    beat = bridge.wait("degraded", "refused the login as 'car'", f"the password in {secret}")
    assert "hunter2" not in beat.reason
    secret.write_text("right\n")
    bridge.wait("ready")


def test_a_login_that_is_wanted_is_said(guarded: Mosquitto, make_bridge: MakeBridge) -> None:
    make_bridge(port=guarded.port).wait("degraded", "wants a login", "mqtt.username", "mqtt.password_file")


def test_a_password_file_that_is_missing_is_said(
    guarded: Mosquitto, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    bridge = make_bridge(port=guarded.port, username="car", password_file=secret)
    bridge.wait("degraded", f"The password file {secret} can't be read", "mqtt.password_file")
    secret.write_text("right")
    bridge.wait("ready")


class Authority:
    """Signs certificates for brokers. As people make them, its own does not name its key's usage."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o755)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._write(
            "ca.crt",
            self._signed(self._name, self._key, 2, x509.BasicConstraints(ca=True, path_length=None)),
        )

    def listener(self, name: x509.GeneralName = LOOPBACK, days: int = 2) -> str:
        """The lines of a listener whose certificate is for `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
        certificate = self._signed(subject, key, days, x509.SubjectAlternativeName([name]))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return f"certfile {self._write('broker.crt', certificate)}\nkeyfile {self._write('broker.key', pem)}"

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, extension: x509.ExtensionType
    ) -> bytes:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=10))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(extension, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)

    def _write(self, name: str, content: bytes) -> Path:
        file = self._folder / name
        file.write_bytes(content)
        file.chmod(0o644)
        return file


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_events_go_over_tls(
    protocol: str, tmp_path: Path, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    authority = Authority(tmp_path / "authority")
    broker = make_mosquitto(listener=authority.listener())
    producer.write(100)
    with Client(broker.port, ca=authority.certificate).subscribe("event/#") as client:
        make_bridge(port=broker.port, protocol=protocol, tls="true", ca_file=authority.certificate)
        wait_for(lambda: len(sequences(client)) == 100)


def test_a_broker_signed_by_a_stranger_is_not_trusted(
    tmp_path: Path, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    broker = make_mosquitto(listener=theirs.listener())
    bridge = make_bridge(port=broker.port, tls="true", ca_file=ours.certificate)
    bridge.wait("degraded", "can't be trusted", f"{ours.certificate} did not sign it", "mqtt.ca_file")


def test_a_certificate_for_another_name_is_refused(
    tmp_path: Path, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    authority = Authority(tmp_path / "authority")
    broker = make_mosquitto(listener=authority.listener(x509.DNSName("elsewhere")))
    bridge = make_bridge(port=broker.port, tls="true", ca_file=authority.certificate)
    bridge.wait("degraded", "is for another name than 127.0.0.1", "mqtt.host")


def test_an_expired_certificate_is_refused(
    tmp_path: Path, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    authority = Authority(tmp_path / "authority")
    broker = make_mosquitto(listener=authority.listener(days=-1))
    bridge = make_bridge(port=broker.port, tls="true", ca_file=authority.certificate)
    bridge.wait("degraded", "has expired", "clock")


def test_tls_where_the_broker_speaks_none_and_none_where_it_does(
    tmp_path: Path, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    authority = Authority(tmp_path / "authority")
    plain, encrypted = make_mosquitto(), make_mosquitto(listener=authority.listener())
    bridge = make_bridge(port=plain.port, tls="true", ca_file=authority.certificate)
    bridge.wait("degraded", "does not speak TLS", "mqtt.tls = false")
    bridge.stop()
    bridge.set(port=encrypted.port, tls="false")
    bridge.start().wait("degraded", "did not answer the login", "mqtt.tls = true")


def test_a_ca_file_that_holds_none_is_said(make_bridge: MakeBridge, tmp_path: Path) -> None:
    bridge = make_bridge(port=free_port(), tls="true", ca_file=tmp_path / "none.crt")
    bridge.wait("degraded", f"mqtt.ca_file {tmp_path / 'none.crt'} can't be used", "PEM")


def test_of_two_cars_with_one_name_the_later_gives_way_and_says_why(
    make_mosquitto: MakeMosquitto,
    make_bridge: MakeBridge,
    context: zmq.Context[zmq.Socket[bytes]],
    tmp_path: Path,
) -> None:
    broker = make_mosquitto()
    first = make_bridge(port=broker.port)
    first.wait("ready")
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as runtime:
        second = Bridge(context, Path(runtime), tmp_path / "other", port=broker.port).start()
        try:
            second.wait("degraded", "Another client", f"smartcar-{CAR}", "set car.name")
            first.wait("degraded", "Another client", "set car.name")
            first.wait_for(lambda beat: "was lost" not in beat.reason, "it is back in its session")
        finally:
            second.close()


def test_a_session_that_the_broker_gave_to_another_is_tried_again_ever_more_seldom() -> None:
    """Soon at first, so that two cars of one name see each other and the later gives way."""
    why = from_disconnect(142, "Session taken over", "smartcar-car", Mqtt(host="broker"))
    assert "as smartcar-car" in why.reason
    backoff = Backoff()
    waits = [backoff.take(why) for _ in range(8)]
    assert waits[0] < 2
    assert waits[-1] > 20
    assert Backoff().take(name_in_use("smartcar-car", Mqtt(host="broker"))) > 40, "the one that gave way"


def test_a_second_client_that_is_no_car_is_guessed(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port, protocol="5")
    for _ in range(3):
        bridge.wait("ready")
        with Client(broker.port, client_id=f"smartcar-{CAR}"):
            bridge.wait("degraded")
    # Newer Mosquittos say that another took the session; with others, a car that is thrown out often guesses.
    bridge.wait("degraded", "nother client connects", f"as smartcar-{CAR}", "set car.name")


def test_the_will_says_lost_and_a_clean_stop_says_stopped(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("status") as client:
        bridge = make_bridge(port=broker.port)
        first = json.loads(client.wait("status").payload)
        assert first["state"] == "starting"
        bridge.kill()
        lost = json.loads(client.wait("status", lambda each: b'"lost"' in each.payload).payload)
        assert lost["session"] == first["session"]
        bridge.start().wait("ready")
        came = client.wait("status", lambda each: json.loads(each.payload)["session"] > first["session"])
        again = json.loads(came.payload)  # sessions sort by their time
        assert bridge.stop() == 0
        stopped = json.loads(client.wait("status", lambda each: b'"stopped"' in each.payload).payload)
        assert stopped["session"] == again["session"]
    with Client(broker.port).subscribe("status") as late:
        assert json.loads(late.wait("status", lambda each: each.retain).payload)["state"] == "stopped"


CRASHES = """
from services.bridge.service import BridgeService
def crash(self):
    if self.state == "ready":
        raise RuntimeError("a fault of its own")
BridgeService._save = crash
from services.__main__ import main
main()
"""


def test_a_bridge_that_crashes_is_lost_and_not_stopped(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    bridge.kill()
    with Client(broker.port).subscribe("status") as client:
        bridge.start(CRASHES)
        assert bridge.ended() != 0
        lost = client.wait("status", lambda each: not each.retain and b'"lost"' in each.payload)
        states = [json.loads(each.payload)["state"] for each in client.inbox.on("status")]
        assert "stopped" not in states
        assert states[-1] == "lost"
        assert json.loads(lost.payload)["session"]


@pytest.mark.parametrize(
    "payload",
    [json.dumps({"state": "lost", "session": "01" + "A" * 24}), "", "junk", b"\xff", '{"state": "odd"}'],
)
def test_the_late_will_of_an_earlier_session_and_a_stranger_s_word_are_corrected(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, payload: str | bytes
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("status") as client:
        make_bridge(port=broker.port).wait("ready")
        ours = json.loads(client.wait("status").payload)["session"].encode()
        client.publish("status", payload, retain=True)
        false = payload if isinstance(payload, bytes) else payload.encode()
        wait_for(lambda: false in [each.payload for each in client.inbox.on("status")])
        wait_for(lambda: ours in client.inbox.on("status")[-1].payload)
        assert json.loads(client.inbox.on("status")[-1].payload)["state"] in ("starting", "degraded")
    with Client(broker.port).subscribe("status") as late:
        assert ours in late.wait("status").payload


def test_a_second_bridge_is_refused_and_the_first_one_named(
    make_bridge: MakeBridge, capfd: pytest.CaptureFixture[str]
) -> None:
    first = make_bridge(port=free_port())
    first.wait("degraded")
    second = make_bridge(port=free_port())
    assert second.ended() != 0
    assert f"already running here as process {first.pid}" in capfd.readouterr().err
