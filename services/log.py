"""Logging: one line a record on standard error, under systemd an entry of the journal; limited in rate."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import time
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from messages.text import printable

BURST = 10
PERIOD_S = 10.0
LONGEST_LINE = 10_000
MOST_WAITING = 1000
"""Records that wait for a journal which hangs; more are dropped."""


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
    return {f"SMARTCAR_{name.upper()}": str(value) for name, value in values.items()}


def set_up(service: str, level: str) -> None:
    """Send the log of this process where its standard error goes: entries to a journal, else lines."""
    handler = _journal(service) if _is_journals(sys.stderr) else None
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        line = f"%(asctime)s {service}: %(levelname)s %(message)s"
        handler.setFormatter(PrintableFormatter(line, "%H:%M:%S"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _journal(service: str) -> logging.Handler | None:
    """Entries of systemd's journal, from a thread of their own: one that hangs holds up no service.

    None where Python has no systemd: only an installed car needs it.
    """
    try:
        from systemd.journal import JournalHandler
    except ImportError:
        return None
    journal = JournalHandler(SYSLOG_IDENTIFIER=f"smartcar-{service}", SMARTCAR_SERVICE=service)
    journal.setFormatter(PrintableFormatter("%(message)s"))
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
    listener = QueueListener(waiting, journal)
    listener.start()
    atexit.register(_stop, listener)
    return DroppingQueueHandler(waiting)


def _stop(listener: QueueListener) -> None:
    """Wait until the journal has what was said last."""
    try:
        listener.stop()
    except queue.Full:
        pass  # it hangs, and what waits is lost


class DroppingQueueHandler(QueueHandler):
    """Hands records to another thread as they are, and drops them where it is far behind."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # a copy for another process would have lost traceback and fields

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], queue.Full):
            super().handleError(record)


def _is_journals(stream: TextIO) -> bool:
    """Whether the stream goes to the journal: systemd says which one that is (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
