"""The data folder: which files in it are models, whole, and new."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.updater.ledger import Seen

SUFFIXES = frozenset({".h5", ".hdf5", ".keras", ".tflite", ".zip"}) | {
    *(
        ".onnx",
        ".pb",
        ".pt",
        ".pth",
        ".safetensors",
        ".pkl",
        ".joblib",
    )  # of other programs: named when refused
}
"""What else lies in the folder is nobody's model."""


@dataclass(frozen=True)
class Arrival:
    """A file that stood still from one look to the next."""

    path: Path
    seen: Seen


class Inbox:
    """Looks at a folder that others write to at any time. A folder that isn't there is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: dict[str, Seen] = {}

    def look(self, known: Mapping[str, Seen]) -> list[Arrival]:
        """What has come, the oldest first: as at the last look, and not as in `known`. Raises OSError."""
        found: dict[str, Seen] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if _is_model(entry.name) and (seen := _seen(entry)) is not None:
                        found[entry.name] = seen
        except (FileNotFoundError, NotADirectoryError):
            pass
        still = [
            Arrival(self.folder / name, seen)
            for name, seen in found.items()
            if known.get(name) != seen and self._before.get(name) == seen
        ]
        self._before = found
        whole = [arrival for arrival in still if not _is_being_written(arrival.path)]
        return sorted(whole, key=lambda arrival: arrival.seen.changed_ns)


def _is_model(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _seen(entry: os.DirEntry[str]) -> Seen | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # it has just gone
    return Seen(size=status.st_size, changed_ns=status.st_mtime_ns, inode=status.st_ino)


def _is_being_written(path: Path) -> bool:
    """Whether somebody has it open for writing, as far as the kernel tells: only so of files of our user.

    A lease for reading is refused while anyone writes (fcntl(2), F_SETLEASE).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # whatever is wrong with it, waiting doesn't help
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False
