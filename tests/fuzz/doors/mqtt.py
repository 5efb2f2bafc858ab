"""MQTT: a real bridge, in a process of its own, and a broker that delivers whatever this draws."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from messages.message import new_ulid
from messages.offers import chunk_topic, offer_topic
from services.catalogue import COMMANDS
from tests.conftest import REPOSITORY
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed
from tests.services.bridge.fake_broker import CLOSE, NO_ANSWER, FakeBroker
from tests.services.bridge.kit import CAR, PREFIX

PATIENCE_S = 30.0
_BRIDGE = """
from services.bridge import command_gateway, session
command_gateway.BURST = command_gateway.PER_SECOND = 1_000_000
session.FIRST_RETRY_S = session.LONGEST_RETRY_S = session.LASTING_RETRY_S = 0.05
from services.__main__ import main
main()
"""
"""The bridge without its limit on commands, so that what is drawn gets behind it, and without patience."""
_PROBE = "nobody/probe"
"""A command that no service has: the bridge answers it by itself."""


class MqttDoor(Door):
    name = "mqtt"

    def open(self, folder: Path) -> None:
        self._broker = FakeBroker()
        self._probes = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BRIDGE, "bridge"],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
            env={
                "PATH": os.environ["PATH"],
                "SMARTCAR_CAR__NAME": CAR,
                "SMARTCAR_PATHS__RUNTIME": str(folder / "run"),
                "SMARTCAR_PATHS__STATE": str(folder / "state"),
                "SMARTCAR_MQTT__HOST": "127.0.0.1",
                "SMARTCAR_MQTT__PORT": str(self._broker.port),
            },
        )
        self._wait(lambda: f"{PREFIX}cmd/+/+" in self._broker.subscribed, "no subscription")

    def feed(self, chance: random.Random) -> None:
        kind = chance.random()
        sessions = self._broker.sessions
        try:
            if kind < 0.0005:
                self._broker.send_raw(chance.randbytes(chance.randrange(1, 200)))
                self._broker.hang_up()  # else it may be waited for the rest of a packet
            elif kind < 0.001:
                code = chance.choice((NO_ANSWER, CLOSE, 16, 128, 131, 135, 144, 149, 151, 153))
                self._broker.answer = lambda topic, _: code if "/reply/" not in topic else 0
            else:
                self._deliver(chance)
        except OSError:  # the bridge has left a broker that broke the protocol, and comes back
            self._wait(lambda: self._broker.sessions > sessions, "it does not come back")

    def settle(self) -> None:
        self._broker.answer = lambda topic, payload: 0
        self._probes += 1
        probe, due = f"probe-{self._probes}", 0.0

        def answered() -> bool:
            nonlocal due
            if time.monotonic() > due:  # again, where the session that it went to has ended
                due = time.monotonic() + 1.0
                try:
                    self._broker.deliver(f"{PREFIX}cmd/{_PROBE}", json.dumps({"id": probe}).encode())
                except OSError:
                    return False
            return any(probe.encode() in payload for payload, _ in self._broker.on(f"{PREFIX}reply/{_PROBE}"))

        self._wait(answered, f"{probe} is not answered")
        self._broker.published.clear()

    def pids(self) -> Collection[int]:
        return (self._process.pid,)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._broker.close()

    def _deliver(self, chance: random.Random) -> None:
        verb = chance.choice((*COMMANDS, "x.y", "model", "a.b.c", ".", "x" * 200 + "." + "y" * 200))
        topic = chance.choice(
            (
                f"{PREFIX}cmd/{verb.replace('.', '/')}",
                f"{PREFIX}cmd/{verb.replace('.', '/')}",
                f"{PREFIX}cmd/{verb.replace('.', '/')}",
                f"{PREFIX}status",
                f"{PREFIX}{chance.choice(('', 'cmd', 'cmd/', 'cmd/a/b/c', 'reply/a/b'))}",
                offer_topic("digits"),
                chunk_topic("digits", "0" * 64, chance.randrange(10)),
                "homeassistant/status",
            )
        )
        example = {"id": new_ulid(), "state": "ready", "session": "01", "bridge": "01A", "services": {}}
        if verb in COMMANDS:
            fields = COMMANDS[verb].model_fields
            example |= {name: hostile.value(chance) for name in fields if name != "id"}
        name = topic.encode()
        if chance.random() < 0.02:
            name = hostile.mutated(chance, name)
        self._broker.deliver(
            name,
            hostile.document(chance, example),
            retain=chance.random() < 0.1,
            properties=_properties(chance) if chance.random() < 0.3 else b"",
        )

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self._process.poll() is not None:
                raise DoorFailed(f"the bridge has ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                raise DoorFailed(otherwise)
            time.sleep(0.002)


def _properties(chance: random.Random) -> bytes:
    """A response topic and correlation data."""
    wanted = chance.choice(("reply/x", "reply/", "event/reading", "reply/+/#", "reply/" + "x" * 300, ""))
    topic = (wanted if chance.random() < 0.1 else PREFIX + wanted).encode()
    correlation = chance.randbytes(chance.randrange(20))
    return (
        b"\x08" + len(topic).to_bytes(2, "big") + topic
        + b"\x09" + len(correlation).to_bytes(2, "big") + correlation
    )  # fmt: skip


DOOR = MqttDoor
