"""Why the disk doesn't take something, and what to do: one sentence for all who keep something on it."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

_FULL_BYTES = 64 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EMERGENCY = "emergency_ro"
"""What ext4 calls itself that has turned read-only over an error, where statvfs(3) doesn't tell."""
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
    there = next((each for each in (folder, *folder.parents) if os.path.isdir(each)), Path("/"))
    number, code = getattr(error, "errno", 0), getattr(error, "sqlite_errorcode", 0) & 0xFF
    read_only, full = _condition(there)
    if read_only or number == errno.EROFS:
        return (
            f"the disk that holds {folder} is read-only; a card does that at its end: see what dmesg says, "
            f"save what is on it, take another one"
        )
    if full or number in _FULL or code == sqlite3.SQLITE_FULL:
        return f"the disk that holds {folder} is full; make room"
    if number in _FAILS or code == sqlite3.SQLITE_IOERR:
        return (
            f"the disk that holds {folder} fails ({_said(error)}); see what dmesg says, "
            f"save what is on it, take another one"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another program holds {path}; end that"
    if there != folder and os.path.lexists(folder):
        return f"{folder} is no folder; move it away, or set {setting}"
    if there != folder:
        why = f"the folder {folder} can't be used ({_said(error)})"
        return f"{why}; make it, give it to {_user()}, or set {setting}"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"the folder {folder} can't be written to by {_user()}; give it to that user, or set {setting}"
    if os.path.isfile(path) and not os.access(path, os.R_OK | os.W_OK):
        return f"{path} can't be read and written by {_user()}; give it to that user"
    return f"{path} can't be written ({_said(error)}); is something else in its place?"


def is_read_only(folder: Path) -> bool:
    """Whether its disk is read-only: mounted so, or since the kernel met an error on it. Raises OSError."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return True
    return _EMERGENCY in _options(folder)[1]


def is_full(folder: Path) -> bool:
    """Whether its disk would take more, if only it had room."""
    read_only, full = _condition(folder)
    return full and not read_only


def is_held_back(folder: Path) -> bool:
    """Whether the disk takes files, but not from this process: it has mounts of its own, made while the disk
    was read-only, as systemd does, and putting that right doesn't reach them.
    """
    if not os.path.isdir(folder):
        return False
    mount, disk = _options(folder)
    return "ro" in mount and "rw" in disk and _EMERGENCY not in disk


def _options(folder: Path) -> tuple[set[str], set[str]]:
    """Of the mount that the folder lies on, and of its file system (proc_pid_mountinfo(5))."""
    device = os.stat(folder).st_dev
    wanted, longest = f"{os.major(device)}:{os.minor(device)}", -1
    found: tuple[set[str], set[str]] = (set(), set())
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        mount, _, disk = line.partition(" - ")
        fields = mount.split()
        if fields[2] == wanted and folder.is_relative_to(fields[4]) and len(fields[4]) >= longest:
            longest, found = len(fields[4]), (set(fields[5].split(",")), set(disk.split()[-1].split(",")))
    return found


def _condition(folder: Path) -> tuple[bool, bool]:
    """Whether its disk is read-only, and whether it is full."""
    try:
        status = os.statvfs(folder)
        return is_read_only(folder), status.f_bavail * status.f_frsize < _FULL_BYTES
    except OSError:
        return False, False


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _user() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"
