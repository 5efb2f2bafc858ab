"""Whether a service is there: since when, and did it restart.

presence = Presence()
if presence.heard(beat):  # each heartbeat of that service
    print("it has come, or come back")
presence.is_there
"""

from __future__ import annotations

import time
from collections.abc import Callable

from messages.health import Heartbeat

SILENT_AFTER_S = 3.0
"""A service that says nothing for so long hangs or was killed: it beats once a second."""

_GONE = frozenset({"stopped", "failed"})


class Presence:
    """What one service's heartbeats say about it. `clock` is CLOCK_MONOTONIC in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.beat: Heartbeat | None = None
        """The newest heartbeat."""
        self.restarts = 0
        """How often another process took its place while we listened."""
        self._since = float("-inf")

    def heard(self, beat: Heartbeat) -> bool:
        """Take a heartbeat; returns whether the service has come: for the first time, again, or anew."""
        before, was_there = self.beat, self.is_there
        if before is not None and beat.monotonic_ns < before.monotonic_ns:
            return False  # the last word of a process that another one has followed
        self.beat = beat
        anew = before is not None and before.boot_id != beat.boot_id
        self.restarts += anew
        came = self.is_there and (anew or not was_there)
        if came:
            self._since = beat.monotonic_ns / 1e9
        return came

    @property
    def is_there(self) -> bool:
        """Whether it runs: it was heard of within SILENT_AFTER_S, and did not say goodbye."""
        return self.beat is not None and self.beat.state not in _GONE and self.silent_s < SILENT_AFTER_S

    @property
    def is_silent(self) -> bool:
        """Whether it was heard of, said no goodbye, and says nothing any more."""
        return self.beat is not None and self.beat.state not in _GONE and not self.is_there

    @property
    def silent_s(self) -> float:
        """Seconds since its newest heartbeat; endless where there was none."""
        if self.beat is None:
            return float("inf")
        return max(0.0, self._clock() - self.beat.monotonic_ns / 1e9)

    @property
    def there_s(self) -> float:
        """Seconds that it has been there without a break; 0 where it isn't."""
        return max(0.0, self._clock() - self._since) if self.is_there else 0.0
