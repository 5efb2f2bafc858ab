"""The bus: a real pad and a real bridge among services that publish and ask whatever this draws."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import zmq

from messages.bus import endpoint
from messages.message import new_ulid
from messages.topics import EVERY_SERVICE, Topic, TopicKind
from services.catalogue import COMMANDS, TOPICS
from tests.conftest import REPOSITORY
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed
from tests.services.bridge.fake_broker import FakeBroker
from tests.services.processes import environment

REAL, FALSE = ("pad", "bridge"), ("capture", "recognizer", "updater", "overlay")
PATIENCE_S = 30.0


class BusDoor(Door):
    name = "bus"

    def open(self, folder: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._broker = FakeBroker()
        self._tokens = 0
        self._publishers: dict[tuple[str, TopicKind], zmq.Socket[bytes]] = {}
        runtime = folder / "run"
        for service in FALSE:
            (runtime / service).mkdir(parents=True)
            for kind in TopicKind:
                socket = self._context.socket(zmq.PUB)
                socket.bind(endpoint(runtime, service, kind.value))
                self._publishers[service, kind] = socket
        settings = {"MQTT__HOST": "127.0.0.1", "MQTT__PORT": str(self._broker.port)}
        self._processes = {
            service: subprocess.Popen(
                [sys.executable, "-m", "services", service],
                cwd=REPOSITORY,
                env=environment(folder, **settings),
                stderr=subprocess.DEVNULL,
            )
            for service in REAL
        }
        self._askers: dict[str, zmq.Socket[bytes]] = {}
        for service in REAL:
            asker = self._context.socket(zmq.DEALER)
            asker.connect(endpoint(runtime, service, "command"))
            self._askers[service] = asker
        self.settle()

    def feed(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            self._publish(chance)
        else:
            self._ask(chance)

    def settle(self) -> None:
        for service, asker in self._askers.items():
            self._tokens += 1
            token = b"probe %d" % self._tokens
            deadline = str(time.monotonic_ns() + 10**11).encode()
            asker.send_multipart((token, b"no.such", deadline, b"{}"))
            until = time.monotonic() + PATIENCE_S
            while asker.recv_multipart()[:1] != [token] if asker.poll(100) else True:
                if self._processes[service].poll() is not None:
                    raise DoorFailed(f"{service} has ended with {self._processes[service].returncode}")
                if time.monotonic() > until:
                    raise DoorFailed(f"{service} does not answer any more")

    def pids(self) -> Collection[int]:
        return [process.pid for process in self._processes.values()]

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._broker.close()
        self._context.destroy(linger=0)

    def _publish(self, chance: random.Random) -> None:
        service = chance.choice(FALSE)
        row = chance.choice([each for each in TOPICS.values() if each.owner in (service, EVERY_SERVICE)])
        source = chance.choice((service, service, service, "pad", "bridge", "a/b", "+", "\N{SNOWMAN}", ""))
        frame = f"{row.name}\0{source}\0".encode() + hostile.document(chance, _example(chance, row, service))
        if chance.random() < 0.05:
            frame = hostile.mutated(chance, frame)
        self._publishers[service, row.kind].send(frame)

    def _ask(self, chance: random.Random) -> None:
        service = chance.choice(REAL)
        verb = chance.choice([*COMMANDS, "", "x", "pad.", "\x00"])
        fields = COMMANDS[verb].model_fields if verb in COMMANDS else {}
        example = {name: hostile.value(chance) for name in fields} | {"id": new_ulid()}
        deadline = chance.choice((b"", b"0", b"-1", b"9" * 5000, b"\xff", b"1e9", str(10**18).encode()))
        parts = [b"fuzz", verb.encode(), deadline, hostile.document(chance, example)]
        if chance.random() < 0.05:
            parts = parts[: chance.randrange(1, 4)] * chance.randint(1, 3)
        self._askers[service].send_multipart(parts)


_PLAUSIBLE: dict[str, Any] = {
    "state": "ready",
    "pid": 1,
    "uptime_s": 1.0,
    "event_id": "01" + "A" * 24,
    "phase": "new",
    "text": "12345",
    "confidence": 0.9,
    "digit_confidences": [0.9],
    "frames": 3,
    "frame_id": 1,
    "latency_ms": 5.0,
    "first_seen": "2026-01-01T00:00:00Z",
    "last_seen": "2026-01-01T00:00:00Z",
    "captured_ns": 1,
    "width": 640,
    "height": 480,
    "codes": [],
    "box": {"x": 0, "y": 0, "width": 1, "height": 1},
    "model": {"name": "a", "version": "1.0.0", "digest": "0" * 64},
    "jpeg": "AAAA",
    "step": "received",
    "active": {"name": "a", "version": "1.0.0", "digest": "0" * 64},
}


def _example(chance: random.Random, row: Topic, service: str) -> dict[str, Any]:
    """A message of the topic, mostly right, so that what follows its parsing is tried, too."""
    fields = {
        name: _PLAUSIBLE[name] if name in _PLAUSIBLE and chance.random() < 0.8 else hostile.value(chance)
        for name, field in row.message.model_fields.items()
        if field.is_required() or chance.random() < 0.2
    }
    return fields | {
        "version": row.message.VERSION,
        "source": service,
        "boot_id": f"boot {chance.randrange(1 << 40)}",  # else what was numbered lower is passed over
        "sequence": chance.randrange(1, 100),
        "monotonic_ns": time.monotonic_ns(),
        "wall_time": "2026-01-01T00:00:00Z",
    }


DOOR = BusDoor
