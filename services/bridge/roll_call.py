"""Answers whoever asks all cars of a broker how they are.

A retained topic says it, too, but some brokers don't deliver retained messages through wildcards, and some
clusters keep them on one node alone. Where a broker refuses the subscription, the car says in its own time
how it is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from messages.offers import ASK_TOPIC
from services.bridge.discovery import STRIKES, SUSPECT_S

SPREAD_S = 0.8
"""Not all cars of a broker at once."""
SELDOM_S = 2.0
"""Who asks more often gets one answer for all."""


class RollCall:
    """`answer` says again what stands retained, and the figures. `clock` gives seconds."""

    def __init__(
        self,
        subscribe: Callable[[str], None],
        answer: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscribe, self._answer, self._clock = subscribe, answer, clock
        self._listen_at: float | None = None
        self._listening_since: float | None = None
        self._strikes = 0
        self._due: float | None = None
        self._answered = float("-inf")

    def session_up(self) -> None:
        """A while later: a broker that closes the connection over it does so over nothing else."""
        if self._strikes < STRIKES:
            self._listen_at = self._clock() + SUSPECT_S

    def session_down(self) -> None:
        if self._listening_since is not None and self._clock() - self._listening_since < SUSPECT_S:
            self._strikes += 1
        self._listen_at = self._listening_since = self._due = None

    def asked(self) -> None:
        if self._due is None:
            soonest = max(self._clock(), self._answered + SELDOM_S)
            self._due = soonest + random.uniform(0, SPREAD_S)

    def tick(self) -> None:
        """Call a few times a second."""
        now = self._clock()
        if self._listen_at is not None and now >= self._listen_at:
            self._listen_at, self._listening_since = None, now
            self._subscribe(ASK_TOPIC)
        if self._due is not None and now >= self._due:
            self._due, self._answered = None, now
            self._answer()
