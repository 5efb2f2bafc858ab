"""`smartcar model publish` where no car is: what it signs, what it says, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from messages.offers import chunk_count
from models.bundle.archive import pack
from models.bundle.bundle import Bundle, parse_manifest
from models.bundle.keys import SigningKey
from models.bundle.payload import payload_of
from services.config import Mqtt
from tests.conftest import REPOSITORY
from tests.models.making import rewritten
from tests.services.bridge.kit import Mosquitto, free_port
from tests.services.bridge.test_connection_problem import Authority
from tests.tools.publish.test_publication import new_name, standing
from tools.publish import publication, publishing
from tools.publish.broker import BrokerLogin, broker_of
from tools.publish.mqtt_client import MqttClient
from tools.terminal.problems import Problem


def publish(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", "model", "publish", *map(str, words)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("SMARTCAR_")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_each_publication_is_the_next_release_and_withdrawn_it_is_gone(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    name, key = new_name(), SigningKey.generate()
    key.save(tmp_path / "key")
    folder = rewritten(tmp_path / "bundle", lambda manifest: manifest.update(name=name, release=3))
    broker = ("--broker", f"127.0.0.1:{mosquitto.port}")
    way = Mqtt(host="127.0.0.1", port=mosquitto.port)
    options = (*broker, "--key", tmp_path / "key", "--to", "car7", "--json")
    for release in (3, 4):
        done = publish(folder, *options)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        offer = standing(way, name).standing
        assert offer is not None
        manifest = parse_manifest(offer.manifest, "here")
        assert (offer.digest, manifest.release, manifest.target) == (told["digest"], release, "car7")
        assert told["taken"] == told["awaited"] == told["away"] == []
    gone = publish("--withdraw", name, *broker)
    assert gone.returncode == 0
    assert "topics cleared" in gone.stdout
    assert not standing(way, name).offer


def test_what_it_refuses(tmp_path: Path) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "key")
    (tmp_path / "factory.zip").write_bytes(pack(Bundle.load(REPOSITORY / "models" / "factory")))
    nowhere = ("--broker", f"127.0.0.1:{free_port()}")
    for words, said in (
        ((), "Give a BUNDLE"),
        ((tmp_path / "factory.zip", "--to", "car7", *nowhere), "--key"),
        ((tmp_path / "factory.zip", "--key", tmp_path / "key", *nowhere), "No broker answers"),
    ):
        done = publish(*words)
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A signed bundle of some name."""
    folder = rewritten(tmp_path / "bundle", lambda manifest: manifest.update(name=new_name()))
    (folder / "manifest.sig").write_bytes(SigningKey.generate().sign((folder / "manifest.json").read_bytes()))
    return folder


def test_a_broker_that_takes_small_packets(signed: Path, tmp_path: Path) -> None:
    """It says so; the chunks are made to fit."""
    broker = Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 60000")
    broker.start()
    done = publish(signed, "--broker", f"127.0.0.1:{broker.port}", "--json")
    assert done.returncode == 0, done.stderr
    shelf = standing(Mqtt(host="127.0.0.1", port=broker.port), Bundle.load(signed).manifest.name)
    offer = shelf.standing
    assert offer is not None
    assert 50_000 < offer.chunk_bytes < 60_000
    assert len(shelf.chunks) == chunk_count(len(payload_of(Bundle.load(signed))), offer.chunk_bytes)
    broker.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_forbids_it_is_not_tried_for_ever(
    signed: Path, tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acl").write_text("topic read smartcar/#\n")
    broker = Mosquitto(tmp_path, f"allow_anonymous true\nacl_file {tmp_path / 'acl'}")
    broker.start()
    monkeypatch.setattr(publication, "ECHO_S", 1.0)
    ways = broker_of(f"127.0.0.1:{broker.port}", BrokerLogin(protocol=protocol), Mqtt())
    with pytest.raises(Problem, match="ACL"):
        publishing.publish(signed, ways, publishing.PublishOptions(), json=True)
    broker.stop()


def test_a_broker_with_tls_and_a_login(signed: Path, tmp_path: Path) -> None:
    """What is missing is said as the option that gives it."""
    authority = Authority(tmp_path / "authority")
    (tmp_path / "passwords").write_text("")
    subprocess.run(
        ["mosquitto_passwd", "-b", tmp_path / "passwords", "teacher", "right"],
        check=True,
        capture_output=True,
    )
    (tmp_path / "passwords").chmod(0o644)
    broker = Mosquitto(
        tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}", authority.listener()
    )
    broker.start()
    (tmp_path / "right").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    ca, address = authority.certificate, f"127.0.0.1:{broker.port}"
    for access, said in (
        (BrokerLogin(), "mqtts://"),
        (BrokerLogin(ca_file=ca), "give --username and --password-file"),
        (BrokerLogin("teacher", tmp_path / "wrong", ca), "refused the login as 'teacher'"),
        (BrokerLogin("teacher", tmp_path / "none", ca), "--password-file"),
    ):
        with pytest.raises(Problem, match=said):
            MqttClient.open(broker_of(address, access, Mqtt()))
    ways = broker_of(address, BrokerLogin("teacher", tmp_path / "right", ca), Mqtt())
    assert publishing.publish(signed, ways, publishing.PublishOptions(), json=True) == 0
    broker.stop()


@pytest.mark.parametrize(
    ("address", "host", "port", "tls"),
    [
        ("lab", "lab", 1883, False),
        ("lab:1884", "lab", 1884, False),
        ("mqtt://lab", "lab", 1883, False),
        ("mqtts://lab", "lab", 8883, True),
        ("mqtts://teacher@lab:8884", "lab", 8884, True),
        ("[::1]:1884", "::1", 1884, False),
    ],
)
def test_addresses_of_brokers(address: str, host: str, port: int, tls: bool) -> None:
    first, second = broker_of(address, BrokerLogin(), Mqtt())
    assert (first.host, first.port, first.tls, first.protocol) == (host, port, tls, "5")
    assert second.protocol == "3.1.1"
    assert first.username == ("teacher" if "@" in address else "")


def test_a_ca_file_means_tls(tmp_path: Path) -> None:
    way = broker_of("lab", BrokerLogin(ca_file=tmp_path / "ca.crt"), Mqtt())[0]
    assert (way.port, way.tls) == (8883, True)


@pytest.mark.parametrize("address", ["http://lab", "lab:99999", "mqtt://teacher:secret@lab", "lab/x", ""])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Problem):
        broker_of(address, BrokerLogin(), Mqtt())


def test_without_an_address_it_is_the_broker_of_the_settings() -> None:
    settings = Mqtt(host="lab", username="car7", protocol="3.1.1")
    assert broker_of(None, BrokerLogin(), settings) == (settings,)
    with pytest.raises(Problem, match=r"mqtt\.host"):
        broker_of(None, BrokerLogin(), Mqtt())
