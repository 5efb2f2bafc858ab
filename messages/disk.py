"""Why the disk doesn't take something, and what to do: one sentence for all who keep something on it."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

_FULL_BYTES = 64 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAILS = (errno.EIO, errno.EUCLEAN, errno.ENODEV)


def make_private(folder: Path) -> None:
    """Make a folder that its owner and group alone may look into, and the one it lies in. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    folder.mkdir(exist_ok=True, mode=0o750)


def why_not(path: Path, error: Exception, setting: str = "paths.state") -> str:
    """Why `path` can't be kept, where trying to brought `error`: what is wrong and what to do.

    `setting` is the key that would put it elsewhere.
    """
    folder = path.parent
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    status = os.statvfs(there)
    number, code = getattr(error, "errno", 0), getattr(error, "sqlite_errorcode", 0) & 0xFF
    if status.f_flag & os.ST_RDONLY or number == errno.EROFS:
        return (
            f"the disk that holds {folder} is read-only; a card does that at its end: see what dmesg says, "
            f"save what is on it, take another one"
        )
    full = status.f_bavail * status.f_frsize < _FULL_BYTES
    if full or number in _FULL or code == sqlite3.SQLITE_FULL:
        return f"the disk that holds {folder} is full; make room"
    if number in _FAILS or code == sqlite3.SQLITE_IOERR:
        return (
            f"the disk that holds {folder} fails ({_said(error)}); see what dmesg says, "
            f"save what is on it, take another one"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another program holds {path}; end that"
    if os.path.lexists(folder) and not folder.is_dir():
        return f"{folder} is no folder; move it away, or set {setting}"
    if there != folder:
        return f"the folder {folder} can't be made ({_said(error)}); make it, or set {setting}"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"the folder {folder} can't be written to by {_user()}; give it to that user, or set {setting}"
    return f"{path} can't be written ({_said(error)}); is something else in its place?"


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _user() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"
