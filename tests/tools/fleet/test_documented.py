"""What docs/fleet.md says of brokers, on real Mosquittos: accounts for cars and teacher, bridged sites."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from services.config import Mqtt
from tests.conftest import REPOSITORY, wait_for
from tests.models.making import rewritten
from tests.services.bridge.kit import Client, Mosquitto, find_mosquitto
from tests.tools.car import objects, smartcar
from tools.fleet.simulated_fleet import SimulationSettings, simulated_fleet

ACCOUNTS = ("teacher", "car1", "car2")


def documented(words: str) -> str:
    """The block of the page that has these words."""
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", (REPOSITORY / "docs" / "fleet.md").read_text(), re.DOTALL | re.MULTILINE
    )
    [found] = [block for block in blocks if words in block]
    return str(found)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    passwords, acl = tmp_path / "passwords", tmp_path / "acl"
    for account in ACCOUNTS:
        (tmp_path / f"{account}.password").write_text(f"secret of {account}\n")
    passwords.write_text("".join(f"{account}:secret of {account}\n" for account in ACCOUNTS))
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    acl.write_text(documented("pattern readwrite"))
    running = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}\nacl_file {acl}")
    running.start()
    yield running
    running.stop()


def test_a_classroom_with_accounts(broker: Mosquitto, tmp_path: Path, runtime: Path) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "teacher.key")
    bundle = Bundle.load(rewritten(tmp_path / "bundle", lambda each: each.update(name="digits")))
    (tmp_path / "digits.zip").write_bytes(pack(bundle))
    teacher = (
        *("--broker", f"127.0.0.1:{broker.port}", "--username", "teacher"),
        *("--password-file", str(tmp_path / "teacher.password"), "--json"),
    )
    with ExitStack() as running:
        for car in ("car1", "car2"):
            mqtt = Mqtt(
                host="127.0.0.1",
                port=broker.port,
                username=car,
                password_file=tmp_path / f"{car}.password",
            )
            settings = SimulationSettings(
                cars=(car,),
                root=str(runtime),
                mqtt=mqtt,
                trust=(key.public.text,),
                trial_s=0.2,
                metrics_s=0.5,
                hertz=0,
            )
            running.enter_context(simulated_fleet(settings))
        options = ("--key", str(tmp_path / "teacher.key"), "--waves", "1,all", "--settle", "0")
        result = smartcar(runtime, "fleet", "rollout", str(tmp_path / "digits.zip"), *teacher, *options)
        end = objects(result.stdout)[-1]
        assert (result.returncode, end["healthy"]) == (0, ["car1", "car2"]), result
        result = smartcar(runtime, "fleet", *teacher)
        listed = objects(result.stdout)
        assert [each["car"] for each in listed] == ["car1", "car2"]
        assert all(each["offers"][0].endswith("✓") for each in listed)
        assert result.returncode == 0

    # Somebody has taken car1's password: it opens car1's topics, and neither car2's nor the teacher's.
    with Client(broker.port, login=("teacher", "secret of teacher")) as onlooker:
        onlooker.client.subscribe("smartcar/#", 1)
        for topic in ("car2/cmd/model/rollback", "models/digits/offer", "car2/status", "car1/status"):
            with Client(broker.port, login=("car1", "secret of car1")) as thief:  # it may be thrown out
                thief.client.publish(f"smartcar/{topic}", b"thief", 1, True).wait_for_publish(2)

        def came() -> set[str]:
            return {each.topic for each in onlooker.inbox.messages if b"thief" in each.payload}

        wait_for(came, what="what the thief may say")
        assert came() == {"smartcar/car1/status"}


def test_a_rollout_reaches_cars_behind_the_bridge_of_a_site(tmp_path: Path, runtime: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    key = SigningKey.generate()
    key.save(tmp_path / "teacher.key")
    bundle = Bundle.load(rewritten(tmp_path / "bundle", lambda each: each.update(name="digits")))
    (tmp_path / "digits.zip").write_bytes(pack(bundle))
    topics = [line for line in documented("connection headquarters").splitlines() if "topic" in line]
    with ExitStack() as running:
        upper = Mosquitto(tmp_path)
        running.callback(upper.stop)
        upper.start()
        bridge = "\n".join(["connection headquarters", f"address 127.0.0.1:{upper.port}", *topics])
        site = Mosquitto(tmp_path, listener=bridge)
        running.callback(site.stop)
        site.start()
        settings = SimulationSettings(
            cars=("car1", "car2"),
            root=str(runtime),
            mqtt=Mqtt(host="127.0.0.1", port=site.port),
            trust=(key.public.text,),
            trial_s=0.2,
            metrics_s=0.5,
            hertz=0,
        )
        running.enter_context(simulated_fleet(settings))
        with Client(upper.port) as onlooker:
            onlooker.client.subscribe("smartcar/+/state/model", 1)
            wait_for(lambda: len({each.topic for each in onlooker.inbox.messages}) == 2)
        broker = ("--broker", f"127.0.0.1:{upper.port}", "--json")
        options = ("--key", str(tmp_path / "teacher.key"), "--waves", "1,all", "--settle", "0")
        result = smartcar(runtime, "fleet", "rollout", str(tmp_path / "digits.zip"), *broker, *options)
        assert (result.returncode, objects(result.stdout)[-1]["healthy"]) == (0, ["car1", "car2"]), result
