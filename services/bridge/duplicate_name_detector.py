"""Another bridge under the name of this car: recognised by what it publishes on the car's `status`."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.bridge.documents import CarStatus

REMEMBERED_S = 120.0


class DuplicateNameDetector:
    """Looks at what stands as the car's status. `own` is the ULID of this bridge process.

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

    def must_yield(self, status: CarStatus) -> bool:
        """Whether to give way to the bridge whose status is retained when a session of ours begins.

        It may be left from a process that is no more, so it proves nothing until a session newer than the
        last seen appears. A bridge that said `stopped` is gone. What comes while we are connected is from no
        bridge of our name: the broker would have closed our session for it.
        """
        if status.bridge in ("", self._own):
            return False
        is_newer = "" < self._seen < status.session
        self._seen = status.session
        if status.state == "stopped" or not is_newer:
            return False
        self._until = self._clock() + REMEMBERED_S
        return status.bridge < self._own
