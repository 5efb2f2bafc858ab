"""Another bridge under the name of this car: recognised by what it publishes on the car's `status`."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.bridge.documents import CarStatus

REMEMBERED_S = 120.0


class DuplicateNameDetector:
    """Compares what stands on `status` with what we published there.

    `own` is the ULID of this bridge process. Of two, the one that was started first keeps the connection:
    both follow the same rule, so they don't throw each other out for ever.
    """

    def __init__(self, own: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._clock = clock
        self._last_seen = ""
        self._until = float("-inf")

    @property
    def present(self) -> bool:
        """Whether one was noticed lately."""
        return self._clock() < self._until

    def must_yield(self, status: CarStatus, *, first_session: bool) -> bool:
        """Whether to give way to whoever published this.

        In the first session of a process it may be what the process before it has left.
        """
        if status.bridge in ("", self._own) or status.session == self._last_seen:
            return False
        self._last_seen = status.session
        if first_session:
            return False
        self._until = self._clock() + REMEMBERED_S
        return status.bridge < self._own
