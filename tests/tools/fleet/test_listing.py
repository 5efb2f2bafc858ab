"""`smartcar fleet` on a real broker, with the bridges of real cars."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.bridge.kit import Client, Mosquitto, find_mosquitto
from tests.services.processes import environment, service
from tests.tools.car import command, objects, smartcar


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    running = Mosquitto(tmp_path)
    running.start()
    yield running
    running.stop()


def listed(broker: Mosquitto, runtime: Path, *options: str) -> dict[str, Any]:
    address = f"127.0.0.1:{broker.port}"
    result = smartcar(runtime, "fleet", "--broker", address, "--json", *options)
    assert not result.stderr
    return {each["car"]: each for each in objects(result.stdout)}


def test_the_cars_on_a_broker_are_listed_as_they_are(broker: Mosquitto, runtime: Path) -> None:
    with ExitStack() as cars:
        running = {
            name: cars.enter_context(
                service(
                    "bridge",
                    runtime / name,
                    CAR__NAME=name,
                    MQTT__HOST="127.0.0.1",
                    MQTT__PORT=str(broker.port),
                )
            )
            for name in ("car2", "car10", "car3")
        }
        with Client(broker.port) as desk:
            desk.client.subscribe("smartcar/+/status", 1)
            wait_for(lambda: {each.topic for each in desk.inbox.messages} >= topics(running))
            watched = cars.enter_context(watching(broker, runtime))
            wait_for(lambda: changes(watched, "car3"), what="car3 to be seen")
            running["car3"].send_signal(signal.SIGKILL)
            running["car10"].send_signal(signal.SIGTERM)
            desk.client.publish("smartcar/ghost/status", b"\x1b[2J\xff", 1, retain=True)
            stale = b'{"state": "ready", "session": "01M85WSFCMH9RM2AH2FYP2QVMP"}'
            desk.client.publish("smartcar/grave/status", stale, 1, retain=True)

            def ended() -> bool:
                last = {each.topic: each.text for each in desk.inbox.messages if b"{" in each.payload}
                return (
                    '"lost"' in last["smartcar/car3/status"]
                    and '"stopped"' in last["smartcar/car10/status"]
                    and "smartcar/grave/status" in last
                )

            wait_for(ended)
        wait_for(lambda: "lost" in changes(watched, "car3"), what="car3's loss to be seen")
        found = listed(broker, runtime, "--listen", "3")
        assert list(found) == ["car2", "car3", "car10", "grave"]
        assert found["car2"]["state"] in ("starting", "degraded")  # it is a bridge alone
        assert found["car2"]["version"]
        assert [found[name]["state"] for name in ("car3", "car10")] == ["lost", "stopped"]
        # A car that nobody hears: what a broker was told before all went dark.
        assert found["grave"]["heard_s"] is None


@contextmanager
def watching(broker: Mosquitto, runtime: Path) -> Iterator[Path]:
    """`smartcar fleet --watch` for the length of a block, and the file of what it says."""
    file = runtime / "watched"
    with file.open("wb") as out:
        process = subprocess.Popen(
            command("fleet", "--broker", f"127.0.0.1:{broker.port}", "--watch", "--json"),
            cwd=REPOSITORY,
            env=environment(runtime),
            stdout=out,
        )
    yield file
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0


def changes(watched: Path, car: str) -> list[str]:
    """The states that were shown of a car."""
    whole = watched.read_text().rpartition("\n")[0]
    return [each["state"] for each in objects(whole) if each["car"] == car]


def topics(names: Any) -> set[str]:
    return {f"smartcar/{name}/status" for name in names}


def test_a_broker_without_cars_and_no_broker_are_said_in_a_sentence(broker: Mosquitto, runtime: Path) -> None:
    result = smartcar(runtime, "fleet", "--broker", f"127.0.0.1:{broker.port}")
    assert (result.returncode, result.stderr) == (1, "")
    assert "no car has said anything" in result.stdout
    broker.kill()
    result = smartcar(runtime, "fleet", "--broker", f"127.0.0.1:{broker.port}")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "No broker answers" in result.stderr
