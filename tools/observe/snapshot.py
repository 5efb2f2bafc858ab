"""The running car at a glance: what `smartcar status`, `smartcar top` and `smartcar doctor` see of it."""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from messages.bus import Subscriber, socket_path
from messages.health import Heartbeat, ServiceState
from messages.models import ModelState
from messages.presence import Presence
from services import board
from services.board import Board
from services.catalogue import SERVICES
from services.config import Settings
from services.supervision import FailureNote, Starts

ASK_S = 1.2
"""A little more than a heartbeat."""
FIRST_BEAT_S = 30.0
"""A process may start for so long before its first heartbeat: a cold disk is slow."""
WELL: frozenset[ServiceState] = frozenset({"ready", "off"})
_LOSSES = (
    "dropped",
    "damaged",
    "frames_skipped",
    "missing",
    "skipped",
    "unread",
    "too_large",
    "journal_lost",
    "journal_discarded_unsent",
)


@dataclass(frozen=True)
class ServiceStatus:
    """One service. `pid` is None where it doesn't run."""

    service: str
    state: ServiceState
    reason: str = ""
    pid: int | None = None
    uptime_s: float = 0.0
    restarts: int = 0
    processor_percent: float = 0.0
    memory_mb: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, service: str, beat: Heartbeat) -> ServiceStatus:
        """What the service says itself."""
        return cls(
            service, beat.state, beat.reason, beat.pid, beat.uptime_s, beat.restarts,
            beat.processor_percent, beat.memory_mb, beat.rates, beat.counters, beat.latency_ms, beat.details,
        )  # fmt: skip

    @property
    def losses(self) -> dict[str, int]:
        """What was dropped or can't be had any more, by what the service calls it."""
        return {
            name: count
            for name, count in self.counters.items()
            if count > 0 and (name in _LOSSES or name.startswith(("malformed.", "errors.")))
        }


@dataclass(frozen=True)
class CarSnapshot:
    """All services in the table's order, and what a person asks about first."""

    car: str
    services: tuple[ServiceStatus, ...]
    model: str
    """What is read with; empty while nothing reads."""
    trial: str
    """The model on trial, if there is one."""
    broker: str
    """Its address; empty where none is configured or the bridge doesn't run."""
    backlog: int
    """Events that the broker doesn't have yet."""
    board: Board
    page: str
    """Its whole address, with the token; empty where it isn't ours to read."""

    @property
    def running(self) -> tuple[ServiceStatus, ...]:
        return tuple(status for status in self.services if status.pid is not None)

    @property
    def well(self) -> bool:
        """Whether all services are ready, or off because they have nothing to do."""
        return all(status.state in WELL for status in self.services)

    def __getitem__(self, service: str) -> ServiceStatus:
        return next(status for status in self.services if status.service == service)

    def as_dict(self) -> dict[str, Any]:
        """For programs; without the page's token."""
        return {key: value for key, value in asdict(self).items() if key != "page"}


class SnapshotListener:
    """Listens to the car\'s heartbeats; `snapshot` says how it is by what was heard so far."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runtime = settings.paths.runtime
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._subscriber = Subscriber(self._context, self._runtime, ("health", "model.state"), SERVICES)
        self._services = {name: Presence() for name in SERVICES}
        self._models: ModelState | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscriber.close()
        self._context.destroy(linger=0)

    def listen(self, seconds: float, also: int | None = None) -> None:
        """Wait for something to come, or for the file descriptor `also`, and take what has come."""
        poller = zmq.Poller()
        for each in (*self._subscriber.sockets, *(() if also is None else (also,))):
            poller.register(each, zmq.POLLIN)
        poller.poll(math.ceil(max(0.0, seconds) * 1000))
        for row, message in self._subscriber.receive():
            if row.name == "model.state":
                self._models = message
            elif message.source in self._services:
                self._services[message.source].heard(message)

    @property
    def complete(self) -> bool:
        """Whether every service has said how it is over a whole beat."""
        beats = [presence.beat for presence in self._services.values()]
        return all(beat is not None and beat.rates for beat in beats)

    def snapshot(self) -> CarSnapshot:
        services = {name: self._status(name) for name in SERVICES}
        recognizer, bridge = services["recognizer"], services["bridge"]
        broker = bridge.details.get("broker", "none")
        trial = self._models.trial if self._models is not None else None
        return CarSnapshot(
            car=self._settings.car.name,
            services=tuple(services.values()),
            model=recognizer.details.get("model", ""),
            trial=f"{trial.name} {trial.version}" if trial is not None else "",
            broker="" if broker == "none" else broker,
            backlog=bridge.counters.get("backlog", 0),
            board=board.read(),
            page=_page(self._runtime) if services["overlay"].pid is not None else "",
        )

    def _status(self, service: str) -> ServiceStatus:
        presence = self._services[service]
        beat = presence.beat
        if beat is None or beat.state == "stopped" or presence.is_silent:
            return absent(self._runtime, service, beat)
        return ServiceStatus.of(service, beat)


def ask(settings: Settings, seconds: float = ASK_S) -> CarSnapshot:
    """How the car is, heard within `seconds`. Raises Problem."""
    with SnapshotListener(settings) as listener:
        deadline = time.monotonic() + seconds
        while not listener.complete and (left_s := deadline - time.monotonic()) > 0:
            listener.listen(left_s)
        return listener.snapshot()


def absent(runtime: Path, service: str, last: Heartbeat | None = None) -> ServiceStatus:
    """A service that isn't heard: it starts, is just ending, hangs, failed, or was never started.

    `last` is its last heartbeat, where one was heard: a process that has beaten isn't starting any more.
    """
    restarts = Starts.restarts(runtime, service)
    pid = _process(runtime, service)
    has_beaten = last is not None and last.pid == pid
    if pid is not None and not has_beaten and (age_s := _age_s(pid)) < FIRST_BEAT_S:
        return ServiceStatus(service, "starting", pid=pid, uptime_s=round(age_s, 1), restarts=restarts)
    if pid is not None and not (has_beaten and last is not None and last.state == "stopped"):
        reason = f"process {pid} runs but does not answer; if that stays so, end it: kill -9 {pid}"
        return ServiceStatus(service, "failed", reason, restarts=restarts)
    note = FailureNote.read(runtime, service)
    if note is not None:
        return ServiceStatus(service, "failed", note.reason, restarts=restarts)
    return ServiceStatus(service, "stopped", restarts=restarts)


def _process(runtime: Path, service: str) -> int | None:
    """The process that holds the service's lock, if it lives and is one of ours."""
    try:
        pid = int(socket_path(runtime, service, "lock").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if service.encode() in command else None


def _age_s(pid: int) -> float:
    """How long a process has been running; 0 where it has just ended."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / os.sysconf("SC_CLK_TCK")


def _page(runtime: Path) -> str:
    try:
        return socket_path(runtime, "overlay", "address").read_text().strip()
    except OSError:
        return ""
