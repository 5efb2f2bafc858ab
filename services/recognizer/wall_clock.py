"""The wall time of a moment of the monotonic clock, for people to read."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

SET_NS = 50_000_000
"""Off by more, the wall clock was set. Less is drift, or how the two clocks were read, and is left."""
_AT_ONCE_NS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WallClock:
    """A moment is always the same wall time, and a later one no earlier, until the wall clock is set."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._ahead_ns: int | None = None

    def at(self, moment_ns: int) -> datetime:
        """The wall time, in UTC, of a moment of the monotonic clock, to the microsecond."""
        before, wall, after = self._monotonic_ns(), self._wall_ns(), self._monotonic_ns()
        ahead = wall - before
        read_at_once = after - before < _AT_ONCE_NS  # this process may have to wait in between
        if self._ahead_ns is None or (read_at_once and abs(ahead - self._ahead_ns) > SET_NS):
            self._ahead_ns = ahead
        return _EPOCH + timedelta(microseconds=(moment_ns + self._ahead_ns) // 1000)
