"""When a service that ended is started again, and when no more."""

from __future__ import annotations

import signal
from collections import deque

PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
MAX_CRASHES = 5
WITHIN_S = 60.0
RAN_WELL_S = 30.0
RAN_BRIEFLY_S = 1.0

_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class RestartPolicy:
    """For one service: quick at first, slower each time, and no more after MAX_CRASHES within WITHIN_S.

    A process that someone killed hasn't crashed: it comes back, however often, and quickly if it had lived.
    """

    def __init__(self) -> None:
        self._step = 0
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES + 1)

    def pause_after(self, exit_code: int, ran_s: float, now: float, *, hung: bool = False) -> float | None:
        """How long to wait before the next start; None: not again. `exit_code` as of `Popen.returncode`."""
        killed = -exit_code in _FROM_OUTSIDE and not hung
        if ran_s >= RAN_WELL_S or (killed and ran_s >= RAN_BRIEFLY_S):
            self._step = 0
        if not killed:
            self._crashes.append(now)
            if len(self._crashes) > MAX_CRASHES and now - self._crashes[0] <= WITHIN_S:
                return None
        pause = PAUSES_S[min(self._step, len(PAUSES_S) - 1)]
        self._step += 1
        return pause
