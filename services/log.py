"""Logging: one line a record on standard error, limited in rate so that a fault can't fill the disk."""

from __future__ import annotations

import logging
import os
import sys
import time

BURST = 10
PERIOD_S = 10.0


class RateLimit(logging.Filter):
    """Lets each logging statement through `BURST` times in `PERIOD_S`, then says how many it left out."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        place = (record.pathname, record.lineno)
        now = time.monotonic()
        started, count = self._windows.get(place, (now, 0))
        if now - started >= PERIOD_S:
            if count > BURST:
                record.msg = f"{record.getMessage()} ({count - BURST} more like this were left out)"
                record.args = None
            started, count = now, 0
        self._windows[place] = (started, count + 1)
        return count < BURST


def set_up(service: str, level: str) -> None:
    """Send the log of this process to standard error. systemd adds the time; elsewhere we do."""
    under_journal = "JOURNAL_STREAM" in os.environ
    stamp = "" if under_journal else "%(asctime)s "
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{stamp}{service}: %(levelname)s %(message)s", "%H:%M:%S"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
