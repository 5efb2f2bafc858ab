"""A car on a machine in a container: what a person does to it and sees of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from services.catalogue import SERVICES
from tests.conftest import wait_for
from tests.system.container import CHECKOUT, WHEELS, Container

UP_S = 120.0
UNITS = {service: f"smartcar-{service}.service" for service in SERVICES}
SETTINGS = '[capture]\nsource = "scene:"\nhertz = 10\n[recognizer]\nforget_seconds = 0.3\n'
"""A container has no camera."""


def install(machine: Container, *options: str, version: str = "", settings: str = SETTINGS) -> str:
    """`sudo ./install.sh`, as pi, from a checkout in pi's home; returns what it says."""
    machine.put_checkout(version)
    file = machine.root / "etc/smartcar/smartcar.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(settings)
    script = f"{CHECKOUT}/install.sh"
    done = machine.run("env", "SUDO_USER=pi", script, "--wheels", WHEELS, *options, within_s=300)
    return done.stdout + done.stderr


class Car:
    """The car that is installed on `machine`."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine

    def unit(self, service: str, what: str) -> str:
        """A property of the service's unit."""
        return self.machine.shows(UNITS[service], what)

    def pids(self) -> dict[str, int]:
        """The processes of all services; 0 for one that doesn't run."""
        shown = self.machine.run("systemctl", "show", "-p", "Id,MainPID,ActiveState", *UNITS.values()).stdout
        found = {}
        for block in shown.strip().split("\n\n"):
            facts = dict(line.partition("=")[::2] for line in block.splitlines())
            service = facts["Id"].removeprefix("smartcar-").removesuffix(".service")
            found[service] = int(facts["MainPID"]) if facts["ActiveState"] == "active" else 0
        return found

    def wait_until_up(self, within_s: float = UP_S) -> dict[str, int]:
        """Until all services are active; returns their processes."""

        def all_up() -> dict[str, int] | None:
            found = self.pids()
            return found if all(found.values()) else None

        try:
            up = wait_for(all_up, within_s, "all services active")
        except pytest.fail.Exception as failure:
            shown = self.machine.run("systemctl", "--no-pager", "status", "smartcar-*", check=False).stdout
            pytest.fail(f"{failure}\n{shown}")
        assert up is not None
        return up

    def signal(self, name: str, *pids: int) -> None:
        """Send a signal to processes of the car."""
        assert all(pids), "0 would be everybody"
        self.machine.run("kill", f"-{name}", *(str(pid) for pid in pids))

    def status(self) -> dict[str, dict[str, Any]]:
        """What `smartcar status` says of each service."""
        done = self.machine.run("smartcar", "status", "--json", check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["service"]: line for line in lines if "service" in line}

    def wait_state(self, service: str, state: str, within_s: float = 30) -> dict[str, Any]:
        """Until the service says so itself."""

        def says() -> dict[str, Any] | None:
            found = self.status().get(service, {})
            return found if found.get("state") == state else None

        found = wait_for(says, within_s, f"{service} {state}")
        assert found is not None
        return found

    def secret(self, name: str) -> str:
        return (self.machine.root / "etc/smartcar" / name).read_text().strip()

    @contextmanager
    def listener(self, topic: str = "smartcar/+/event/#") -> Iterator[list[dict[str, Any]]]:
        """An MQTT client on another machine; the messages that it gets, as they come."""
        heard: list[dict[str, Any]] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        client.username_pw_set("owner", self.secret("owner-password"))
        client.tls_set(str(self.machine.root / "etc/smartcar/ca.crt"))
        client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        client.on_message = lambda _, __, message: heard.append(json.loads(message.payload))
        client.connect(self.machine.address, 8883)
        client.loop_start()
        try:
            yield heard
        finally:
            client.disconnect()
            client.loop_stop()

    def mosquitto_sub(self, *words: str, within_s: float = 30) -> str:
        """What Mosquitto's own client on another machine prints."""
        command = ["mosquitto_sub", "-h", self.machine.address, "-p", "8883", "-u", "owner"]
        command += ["--cafile", str(self.machine.root / "etc/smartcar/ca.crt")]
        command += ["-P", self.secret("owner-password"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=within_s)
        return done.stdout + done.stderr


def doctor(car: Car, *checks: str, user: str = "") -> dict[str, list[dict[str, Any]]]:
    """What `smartcar doctor` finds, by check."""
    said = car.machine.run("smartcar", "doctor", "--json", *checks, user=user, check=False).stdout
    found: dict[str, list[dict[str, Any]]] = {}
    for line in said.splitlines():
        entry = json.loads(line)
        found.setdefault(entry["check"], []).append(entry)
    return found


def levels(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["level"] for finding in findings]


def eventually(condition: Callable[[], object], what: str, within_s: float = 30) -> None:
    """Wait for what a process in the container takes a while to do."""
    wait_for(lambda: bool(condition()), within_s, what)


def files_below(*folders: Path) -> set[str]:
    """Every path below the folders."""
    return {str(path) for folder in folders for path in folder.rglob("*")}
