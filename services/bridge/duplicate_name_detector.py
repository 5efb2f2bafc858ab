"""Another bridge under the name of this car: recognised by what it publishes on the car's `status`."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.bridge.documents import CarStatus

REMEMBERED_S = 120.0


class DuplicateNameDetector:
    """Looks at each status on the car's topic. `own` is the ULID of this bridge process.

    Of two bridges, the one that was started first keeps the connection: both follow the same rule, so they
    don't throw each other out for ever.
    """

    def __init__(self, own: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._clock = clock
        self._seen = ""
        self._until = float("-inf")

    @property
    def present(self) -> bool:
        """Whether another bridge was noticed lately."""
        return self._clock() < self._until

    def must_yield(self, status: CarStatus, *, retained: bool) -> bool:
        """Whether to give way to the bridge that published this.

        What stands retained, and a last will, may be left from a process that is no more: neither proves
        anything until a session newer than the last seen appears. A bridge that said `stopped` is gone.
        """
        if status.bridge in ("", self._own):
            return False
        is_live = not retained and status.state != "lost"
        is_newer = "" < self._seen < status.session
        self._seen = status.session
        if status.state == "stopped" or not (is_live or is_newer):
            return False
        self._until = self._clock() + REMEMBERED_S
        return status.bridge < self._own
