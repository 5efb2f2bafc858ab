"""Logging: one line a record on standard error, under systemd an entry of the journal; limited in rate."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from messages.text import printable
from services import journald

BURST = 10
PERIOD_S = 10.0
LONGEST_LINE = 10_000


class RateLimit(logging.Filter):
    """Lets each logging statement through `BURST` times in `PERIOD_S`, then says how many it left out.

    So a fault can't fill the disk.
    """

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


class PrintableFormatter(logging.Formatter):
    """Writes records for a terminal: text of strangers in them can't steer it, nor begin a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record), LONGEST_LINE)

    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).split("\n")
        return "\n".join(printable(line, LONGEST_LINE) for line in lines)


def fields(**values: object) -> dict[str, Any]:
    """What a record is about, as its `extra`: `model="digits 1.0"` is the journal's field SMARTCAR_MODEL."""
    return {journald.FIELDS: {f"SMARTCAR_{name.upper()}": str(value) for name, value in values.items()}}


def set_up(service: str, level: str) -> None:
    """Send the log of this process where its standard error goes: entries to a journal, else lines."""
    under_journal = journald.is_ours()
    stamp = "" if under_journal else "%(asctime)s "
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter(f"{stamp}{service}: %(levelname)s %(message)s", "%H:%M:%S"))
    if under_journal:
        handler = journald.JournalHandler(service, handler, journald.SOCKET)
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
