"""The versions that are installed side by side, and which of them is in force.

Each is a virtual environment below /opt/smartcar, built by install.sh and then left as it is. The link
`current` says which one runs; `previous` is the one before. A version puts itself in force (`smartcar
install`), so that going back is the previous one's own business.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from messages import durable
from tools.terminal.problems import Problem

HOME = Path("/opt/smartcar")
_COMPLETE = ".complete"
_LOCK = ".lock"


def own() -> Path:
    """The version that this process is of. Raises Problem where it is none: it runs from a checkout."""
    version = Path(sys.prefix)
    if version.parent != HOME:
        raise Problem("This smartcar runs from a checkout; to put it on the car: `sudo ./install.sh`.")
    return version


def current(home: Path = HOME) -> Path | None:
    return _linked(home, "current")


def previous(home: Path = HOME) -> Path | None:
    """The version that was in force before."""
    return _linked(home, "previous")


def put_in_force(version: Path, home: Path = HOME) -> None:
    """Let `current` be this version and `previous` the one that was. Nothing in between is ever seen."""
    before = current(home)
    if before == version:
        return
    if before is not None:
        _link(home, "previous", before)
    _link(home, "current", version)


def let_be_previous(version: Path | None, home: Path = HOME) -> None:
    """Say which version was in force before; None: there was none."""
    if version is None:
        (home / "previous").unlink(missing_ok=True)
    else:
        _link(home, "previous", version)


def remove_old(home: Path = HOME) -> None:
    """Remove all versions but the two that are linked."""
    keep = {current(home), previous(home)}
    for folder in home.iterdir():
        if folder.is_dir() and not folder.is_symlink() and folder not in keep:
            (folder / _COMPLETE).unlink(missing_ok=True)  # half removed it must not look whole
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(home: Path = HOME) -> Iterator[int]:
    """One installation at a time. Yields the descriptor that holds the lock, to be passed on to helpers.

    Whoever started this may hold it for us: install.sh, or the newer version that falls back to this one.
    """
    path = home / _LOCK
    inherited = _inherited(path)
    descriptor = inherited if inherited is not None else os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        raise Problem("Another installation runs; wait for it to end.") from None
    finally:
        if inherited is None:
            os.close(descriptor)


def _inherited(path: Path) -> int | None:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == path:
                return int(entry.name)
        except OSError:
            pass  # the one that listed the folder
    return None


def _linked(home: Path, name: str) -> Path | None:
    try:
        version = home / (home / name).readlink()
    except OSError:
        return None
    return version if (version / _COMPLETE).exists() else None


def _link(home: Path, name: str, version: Path) -> None:
    durable.replace_link(home / name, version.name)
