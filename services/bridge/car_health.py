"""How the car is as a whole: derived from what its services say, and from their silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from messages.health import Heartbeat, ServiceState
from messages.topics import topic
from services.bridge.documents import CarState
from services.supervision import FailureNote

MISSED_BEATS = 3.5
START_UP_S = 10.0
"""A service not heard of sooner after our own start is starting, not silent."""

SILENT = "silent"
"""The state of a service that says nothing."""

_WELL = ("ready", "off", "starting")


class CarHealth:
    """Collects heartbeats; `judge` says the car's state, why, and the state of each service.

    `own`: the service that judges, which knows its own state without being told.
    """

    def __init__(
        self, runtime: Path, services: Iterable[str], own: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runtime = runtime
        self._own = own
        self._services = tuple(services)
        self._clock = clock
        self._began = clock()
        self._late_s = MISSED_BEATS / (topic("health").hertz or 1.0)
        self._heard: dict[str, tuple[Heartbeat, float]] = {}

    def take(self, beat: Heartbeat) -> bool:
        """Note a heartbeat; returns whether it may change the verdict."""
        before = self._heard.get(beat.source)
        self._heard[beat.source] = (beat, self._clock())
        return before is None or (before[0].state, before[0].reason) != (beat.state, beat.reason)

    @property
    def heartbeats(self) -> dict[str, Heartbeat]:
        """The latest of each service that is not silent."""
        return {name: beat for name, (beat, _) in self._heard.items() if not self._silent(name)}

    def judge(self, own: ServiceState, own_reason: str) -> tuple[CarState, str, dict[str, str]]:
        """`own`, `own_reason`: how the judging service itself is. What is off on purpose is told."""
        states: dict[str, str] = {}
        troubles: list[str] = []
        intended: list[str] = []
        for name in self._services:
            if name == self._own:
                states[name], trouble = _weigh(own, own_reason)
            else:
                states[name], trouble = self._judge(name)
            if trouble:
                troubles.append(f"{name}: {trouble}")
            elif states[name] == "off" and name in self._heard:
                intended.append(f"{name}: {self._heard[name][0].reason}")
        if troubles:
            return "degraded", "; ".join(troubles), states
        state: CarState = "starting" if "starting" in states.values() else "ready"
        return state, "; ".join(intended), states

    def _judge(self, name: str) -> tuple[str, str]:
        """(state, what is wrong with it)"""
        if self._silent(name):
            if name not in self._heard and self._clock() - self._began < START_UP_S:
                return "starting", ""
            note = FailureNote.read(self._runtime, name)
            return SILENT, note.reason if note else "says nothing; see its log, or start it"
        beat = self._heard[name][0]
        return _weigh(beat.state, beat.reason)

    def _silent(self, name: str) -> bool:
        heard = self._heard.get(name)
        if heard is None:
            return True
        beat, when = heard
        return beat.state != "stopped" and self._clock() - when > self._late_s


def _weigh(state: ServiceState, reason: str) -> tuple[str, str]:
    return state, "" if state in _WELL else reason or f"is {state}"
