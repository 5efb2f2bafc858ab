"""The data folder: which files in it are models, whole, and new.

inbox = Inbox(Path("/var/lib/smartcar/data"), time.monotonic)
    arrival = inbox.look(state.now.files)    # from the second look on, once a file stood still
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from messages.text import escaped
from models.refusal import Refusal
from services.updater.fetch import Retries
from services.updater.state import FileStamp

_OTHERS = frozenset({".onnx", ".pb", ".pt", ".pth", ".safetensors", ".pkl", ".joblib"})
"""Of other programs' models, which are refused with what to do."""
SUFFIXES = frozenset({".h5", ".hdf5", ".keras", ".tflite", ".zip"}) | _OTHERS
"""What else lies in the folder is nobody's model, but for the folder of a SavedModel."""
MOST_GONE = 500
"""So many files that have gone are remembered: a data folder on a stick may be back."""


@dataclass(frozen=True)
class Arrival:
    """A file that stood still from one look to the next."""

    path: Path
    name: str
    """As the state's table has it: `escaped`."""
    stamp: FileStamp
    files: Mapping[str, FileStamp]
    """That table with this file in it."""


class Inbox:
    """Looks at a folder that others write to at any time. A folder that isn't there is empty."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._before: dict[str, FileStamp] = {}
        self._retries = Retries(clock)

    def look(self, known: Mapping[str, FileStamp]) -> Arrival | None:
        """The oldest that has come: as at the last look, and not as in `known`. Raises OSError."""
        found: dict[str, FileStamp] = {}
        paths: dict[str, Path] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if _is_model(entry) and (stamp := _stamp(entry)) is not None:
                        name = escaped(entry.name)
                        found[name], paths[name] = stamp, self.folder / entry.name
        except (FileNotFoundError, NotADirectoryError):
            pass
        still = [
            name
            for name, stamp in found.items()
            if known.get(name) != stamp and self._before.get(name) == stamp
        ]
        self._before = found
        self._retries.come_due()
        gone = [name for name in known if name not in found]
        kept = {name: stamp for name, stamp in known.items() if name in found or name in gone[-MOST_GONE:]}
        for name in sorted(still, key=lambda name: found[name].changed_ns):
            if self._retries.waiting(name) is None and not _is_being_written(paths[name]):
                return Arrival(paths[name], name, found[name], {**kept, name: found[name]})
        return None

    def postpone(self, path: Path, refusal: Refusal) -> None:
        """The file could not be taken for now; it comes again later, by itself."""
        self._retries.add(escaped(path.name), refusal)


def _is_model(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
        return True
    is_folder = entry.is_dir(follow_symlinks=False)
    return is_folder and os.path.isfile(os.path.join(entry.path, "saved_model.pb"))


def _stamp(entry: os.DirEntry[str]) -> FileStamp | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # it has just gone
    return FileStamp(size=status.st_size, changed_ns=status.st_mtime_ns, inode=status.st_ino)


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
