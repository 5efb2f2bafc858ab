"""Services as real processes, watched through the bus as anyone would."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import zmq

from messages.bus import Subscriber
from messages.health import Heartbeat
from messages.rpc.clients import CommandClient
from services.catalogue import SERVICES, TOPICS
from tests.conftest import PATIENCE_S, REPOSITORY, Value, wait_for


def environment(runtime: Path, **settings: str) -> dict[str, str]:
    """The environment of a service that keeps to `runtime`; settings as SECTION__KEY="value"."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SMARTCAR_")}
    own["SMARTCAR_PATHS__RUNTIME"] = str(runtime / "run")
    own["SMARTCAR_PATHS__STATE"] = str(runtime / "state")
    own["SMARTCAR_CAR__NAME"] = "testcar"
    return own | {f"SMARTCAR_{name}": value for name, value in settings.items()}


def start_service(name: str, runtime: Path, **settings: str) -> subprocess.Popen[str]:
    """The service as a process; its log goes to the process's standard error pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "services", name],
        cwd=REPOSITORY,
        env=environment(runtime, **settings),
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def service(name: str, runtime: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The same for the length of a block; stopped with SIGTERM unless the block ended it."""
    process = start_service(name, runtime, **settings)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def undelivered(runtime: Path, producer: str) -> int:
    """How many entries of the producer's journal it doesn't know to be at the broker."""
    path = runtime / "state" / producer / "journal.sqlite3"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as journal:
        [(delivered,)] = journal.execute("SELECT value FROM facts WHERE name = 'delivered'")
        [(count,)] = journal.execute("SELECT count(*) FROM entries WHERE number > ?", (int(delivered),))
    return int(count)


class Onlooker:
    """Hears everything on the bus of `runtime`, and keeps it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self._subscriber = Subscriber(context, runtime / "run", TOPICS, SERVICES)
        self.commands = CommandClient(context, runtime / "run")
        self.heard: list[tuple[str, Any]] = []
        self.health: dict[str, Heartbeat] = {}

    def listen(self) -> list[Heartbeat]:
        """Take what came; the heartbeats among it."""
        beats = []
        for row, message in self._subscriber.receive():
            self.heard.append((row.name, message))
            if isinstance(message, Heartbeat):
                self.health[message.source] = message
                beats.append(message)
        return beats

    def of(self, topic: str) -> list[Any]:
        self.listen()
        return [message for name, message in self.heard if name == topic]

    def wait(self, condition: Callable[[], Value], what: str = "", within_s: float = PATIENCE_S) -> Value:
        """Listen until `condition()` holds."""

        def holds() -> Value:
            self.listen()
            return condition()

        return wait_for(holds, within_s, what)

    def wait_state(self, name: str, state: str, reason: str = "", within_s: float = PATIENCE_S) -> Heartbeat:
        """Until the service is or was in `state` since the last look, for a reason that holds these words."""

        def is_so() -> Heartbeat | None:
            said = [*self.listen(), *filter(None, [self.health.get(name)])]
            fits = [
                beat for beat in said if beat.source == name and beat.state == state and reason in beat.reason
            ]
            return fits[-1] if fits else None

        beat = wait_for(is_so, within_s, f"{name} {state}: {reason}; it is {self.health.get(name)}")
        assert beat is not None
        return beat
