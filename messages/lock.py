"""One owner at a time: a lock file that says who holds it and goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyOwned(RuntimeError):
    """Another process holds it."""


class OwnerLock:
    """Holds `path` until `release` or the end of the process. Raises AlreadyOwned, naming the holder.

    `what` is locked; `setting` is the key that would give another owner a folder of its own.
    """

    def __init__(self, path: Path, what: str, setting: str = "paths.runtime") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        while True:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self._fd, 64, 0).decode(errors="replace").strip() or "unknown"
                os.close(self._fd)
                raise AlreadyOwned(
                    f"{what} is already running here as process {holder}; stop that one first, "
                    f"or give this one a folder of its own ({setting})."
                ) from None
            if os.fstat(self._fd).st_nlink:
                break
            os.close(self._fd)  # its last owner has removed it meanwhile
        os.ftruncate(self._fd, 0)
        try:
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # the disk is full: it is locked all the same, without a name

    def remove(self) -> None:
        """Let go, and leave no file behind."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)  # while ours: whoever opened it finds it gone, and looks again
            self.release()

    def release(self) -> None:
        """Let go; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
