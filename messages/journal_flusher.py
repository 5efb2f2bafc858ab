"""Has the disk take what a journal's log holds, without holding up the journal."""

from __future__ import annotations

import os
import threading
from pathlib import Path

FLUSH_TO_DISK_S = 1.0
"""What was appended is on the disk so much later, on a disk that is not slow."""


class DiskFlusher:
    """Syncs SQLite's write-ahead log `path` in a thread of its own: a slow card takes seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wanted = False
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def soon(self) -> None:
        """What is in the log now is to be on the disk soon."""
        with self._lock:
            self._wanted = True
            if self._timer is None:
                self._start()

    def close(self) -> None:
        """Sync no more; closing the database does it."""
        with self._lock:
            self._wanted = False
            if self._timer is not None:
                self._timer.cancel()

    def _start(self) -> None:
        self._timer = threading.Timer(FLUSH_TO_DISK_S, self._flush)
        self._timer.daemon = True
        self._timer.start()

    def _flush(self) -> None:
        with self._lock:
            self._wanted = False
        self._sync()
        with self._lock:
            self._timer = None
            if self._wanted:  # an entry came meanwhile: whether it went along is not known
                self._start()

    def _sync(self) -> None:
        try:
            # SQLite holds no lock on this file, so closing it here lets none go.
            log = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # closed meanwhile, which flushes all
        try:
            os.fdatasync(log)
        except OSError:
            pass  # the next append meets the same disk, and says so
        finally:
            os.close(log)
