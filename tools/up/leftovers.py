"""What a car that was stopped, or killed, leaves in its runtime folder is removed."""

from __future__ import annotations

import stat
from pathlib import Path

from messages.lock import AlreadyOwned, OwnerLock
from services.catalogue import SERVICES
from services.supervision import FailureNote

LOCK = "up.lock"
_FILES = {"address", "starts"}
_RINGS = "ring"


def sweep(runtime: Path, *, keep_failures: bool = False) -> None:
    """Remove sockets, rings, locks and failure notes of services that don't run. Touches nothing else."""
    for service in SERVICES:
        folder = runtime / service
        if not folder.is_dir():
            continue
        try:
            lock = OwnerLock(folder / "lock", service)
        except (AlreadyOwned, OSError):
            continue  # it runs without us, or isn't ours
        for path in folder.iterdir():
            if path.name in _FILES or _is_socket(path):
                path.unlink(missing_ok=True)
        if not keep_failures:
            FailureNote.clear(runtime, service)
        _remove_rings(folder / _RINGS)
        lock.remove()
        _remove_if_empty(folder)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _remove_rings(folder: Path) -> None:
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        if path.is_file():
            path.unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # something of another's lies in it
