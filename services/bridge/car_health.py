"""How the car is as a whole: derived from what its services say, and from their silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from messages.health import Heartbeat, ServiceState
from messages.presence import Presence
from services.bridge.documents import CarState
from services.supervision import FailureNote

START_UP_S = 10.0
"""A service not heard of sooner after our own start is starting, not silent."""

SILENT = "silent"
"""The state of a service that says nothing."""

_WELL = ("ready", "off", "starting")


class CarHealth:
    """Collects heartbeats; `judge` gives the car's state, the reason, and the state of each service.

    `own` is the service that judges, which knows its own state without being told. `clock` is CLOCK_MONOTONIC
    in seconds.
    """

    def __init__(
        self, runtime: Path, services: Iterable[str], own: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runtime = runtime
        self._own = own
        self._clock = clock
        self._began = clock()
        self._services = {name: Presence(clock) for name in services}

    def heard(self, beat: Heartbeat) -> bool:
        """Take a heartbeat of one of the services; returns whether it may change the judgement."""
        presence = self._services[beat.source]
        before = presence.beat
        presence.heard(beat)
        return before is None or (before.state, before.reason) != (beat.state, beat.reason)

    @property
    def heartbeats(self) -> dict[str, Heartbeat]:
        """The latest of each service that is not silent."""
        return {
            name: presence.beat
            for name, presence in self._services.items()
            if presence.beat is not None and not presence.is_silent
        }

    def judge(self, own: ServiceState, own_reason: str) -> tuple[CarState, str, dict[str, str]]:
        """(state, reason, states of the services). `own`, `own_reason`: how the judging service itself is.

        Where nothing is wrong, the reason names the services that are off on purpose.
        """
        states: dict[str, str] = {}
        problems: list[str] = []
        intended: list[str] = []
        for name, presence in self._services.items():
            state, reason = (own, own_reason) if name == self._own else self._judge(name, presence)
            states[name] = state
            if state not in _WELL:
                problems.append(f"{name}: {reason or f'It is {state}.'}")
            elif state == "off" and reason:
                intended.append(f"{name}: {reason}")
        if problems:
            return "degraded", " ".join(problems), states
        return "starting" if "starting" in states.values() else "ready", " ".join(intended), states

    def _judge(self, name: str, presence: Presence) -> tuple[str, str]:
        """(state, reason) of one service."""
        beat = presence.beat
        if beat is not None and not presence.is_silent:
            return beat.state, beat.reason
        if beat is None and self._clock() - self._began < START_UP_S:
            return "starting", ""
        note = FailureNote.read(self._runtime, name)
        return SILENT, note.reason if note else "Says nothing; see its log, or start it."
