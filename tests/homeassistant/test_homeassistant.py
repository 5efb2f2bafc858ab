"""A real Home Assistant, without a screen, and a car on one Mosquitto: `make test-ha`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import CAR, Client, Mosquitto, Producer, Received, free_port
from tests.services.processes import service
from tests.tools.car import smartcar

pytestmark = pytest.mark.homeassistant

ENVIRONMENTS = sorted(REPOSITORY.glob(".venv-ha*/bin/python"))
STARTS_WITHIN_S = 300.0
EVENT = f"event.{CAR}_code"
SHOWN = {f"binary_sensor.{CAR}_connected", f"sensor.{CAR}_last_reading", f"select.{CAR}_source"}


class HomeAssistant:
    """`ask` has the driver do something, and gives its answer."""

    def __init__(self, python: Path, folder: Path, port: int) -> None:
        storage = folder / ".storage"
        storage.mkdir(parents=True)
        (folder / "configuration.yaml").write_text(
            "homeassistant:\n  name: test\n  time_zone: UTC\n"
            f"http:\n  server_host: 127.0.0.1\n  server_port: {free_port()}\n"
        )
        entry = {
            "entry_id": "mqtt", "version": 1, "minor_version": 1, "domain": "mqtt", "title": "broker",
            "data": {"broker": "127.0.0.1", "port": port}, "options": {}, "source": "user", "unique_id": None,
            "pref_disable_new_entities": False, "pref_disable_polling": False, "disabled_by": None,
        }  # fmt: skip
        document = {
            "version": 1,
            "minor_version": 1,
            "key": "core.config_entries",
            "data": {"entries": [entry]},
        }
        (storage / "core.config_entries").write_text(json.dumps(document))
        self._log = folder / "driver.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, Path(__file__).with_name("driver.py"), folder],
                env={"PATH": os.environ["PATH"], "HOME": str(folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        watch = threading.Timer(STARTS_WITHIN_S, self._process.kill)
        watch.start()
        started = self._read()
        watch.cancel()
        assert started == "ready"

    def ask(self, do: str, **more: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def states(self) -> dict[str, Any]:
        return dict(self.ask("states"))

    def state(self, entity: str) -> str:
        return str(self.states().get(entity, {}).get("state"))

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text(errors="replace")[-3000:]
        return json.loads(line)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.mark.skipif(not ENVIRONMENTS, reason="no Home Assistant is installed: make test-ha")
@pytest.mark.parametrize("python", ENVIRONMENTS, ids=lambda each: each.parent.parent.name)
def test_home_assistant_shows_the_car_and_its_log_is_clean(
    python: Path, broker: Mosquitto, runtime: Path, tmp_path: Path
) -> None:
    settings = {
        "MQTT__HOST": "127.0.0.1",
        "MQTT__PORT": str(broker.port),
        "CAPTURE__SOURCES": '{garden = "scene:"}',
        "OVERLAY__HOST": "10.1.2.3",
    }
    producer = Producer(runtime / "state")
    with ExitStack() as running:
        running.callback(producer.close)
        desk = running.enter_context(Client(broker.port)).subscribe("#")

        # What a car leaves behind stands there before Home Assistant does.
        with service("bridge", runtime, **settings):
            producer.write(1)
            desk.wait("event/reading")
            wait_for(
                lambda: any("/device/" in each.topic for each in announced(broker)), 30, "the announcement"
            )

        home = HomeAssistant(python, tmp_path / "home", broker.port)
        running.callback(home.stop)
        wait_for(lambda: {EVENT, *SHOWN} <= home.states().keys(), 60, "the car")
        known = home.states()
        wait_for(lambda: home.state(f"binary_sensor.{CAR}_connected") == "off", 60, "that it is off")
        assert known[f"sensor.{CAR}_last_reading"]["state"] == "unavailable"
        assert known[f"select.{CAR}_source"]["attributes"]["options"] == ["default", "garden"]
        [device] = [each for each in home.ask("device") if each["name"] == CAR]
        assert device["configuration_url"] == "http://10.1.2.3:8080"
        assert home.ask("log") == [], "a car that is off is no reason to complain"

        with service("bridge", runtime, **settings), service("capture", runtime, **settings):
            wait_for(lambda: home.state(f"select.{CAR}_source") == "default", 60, "the source")
            producer.write(2)
            wait_for(lambda: len(home.ask("events", entity=EVENT)) >= 2, 60, "two events")
            told = home.ask("events", entity=EVENT)
            assert [(each["event_type"], each["text"]) for each in told] == [
                ("new", "00002"),
                ("new", "00003"),
            ]
            assert home.state(f"sensor.{CAR}_last_reading") == "00003"

            choice = {"entity_id": f"select.{CAR}_source", "option": "garden"}
            home.ask("call", service="select.select_option", data=choice)
            wait_for(lambda: home.state(f"select.{CAR}_source") == "garden", 60, "the other source")
            assert home.state(f"sensor.{CAR}_last_command") == "done"

            digits = {"entity_id": f"text.{CAR}_write_on_the_pad", "value": "123"}
            home.ask("call", service="text.set_value", data=digits)
            wait_for(lambda: "pad" in home.state(f"sensor.{CAR}_last_command"), 60, "that no pad runs")
        wait_for(lambda: home.state(f"binary_sensor.{CAR}_connected") == "off", 60, "the car to be off")
        mqtt = {name: value for name, value in settings.items() if name.startswith("MQTT")}
        forgotten = smartcar(runtime, "mqtt", "forget", **mqtt)
        assert forgotten.returncode == 0, forgotten.stderr
        wait_for(lambda: EVENT not in home.states(), 60, "the car to be forgotten")
        assert home.ask("log") == []


def announced(broker: Mosquitto) -> list[Received]:
    """What is retained for Home Assistant now."""
    with Client(broker.port) as client:
        client.client.subscribe("homeassistant/#", 1)
        client.subscribe("mark").publish("mark", b"")
        client.wait("mark")
        return [each for each in client.inbox.messages if each.retain]
