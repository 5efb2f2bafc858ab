"""What a service has with its supervisor: its folder, word to systemd, a failure note, a count of starts."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from messages import durable
from messages.bus import socket_path
from messages.disk import make_private, why_not
from messages.errors import CannotStart


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens where it did not start this process."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    try:
        from systemd.daemon import notify as sd_notify
    except ImportError:
        return  # a checkout's Python, below something that systemd has started
    sd_notify(message)


@dataclass(frozen=True)
class FailureNote:
    """Why a service isn't running: it lies beside its sockets until the service runs again."""

    reason: str
    wall_time: float

    @staticmethod
    def path(runtime: Path, service: str) -> Path:
        return socket_path(runtime, service, "failure.json")

    @classmethod
    def write(cls, runtime: Path, service: str, reason: str) -> None:
        path = cls.path(runtime, service)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.replace_file(path, json.dumps(asdict(cls(reason, time.time()))).encode())
        except OSError:
            pass  # the log has it

    @classmethod
    def read(cls, runtime: Path, service: str) -> FailureNote | None:
        try:
            content = json.loads(cls.path(runtime, service).read_text())
            return cls(str(content["reason"]), float(content["wall_time"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def clear(cls, runtime: Path, service: str) -> None:
        cls.path(runtime, service).unlink(missing_ok=True)


class Starts:
    """How often a service has started since it was last stopped on purpose: a number beside its sockets.

    The service counts for itself, so that the figure is the same under systemd, under `smartcar up` and by
    hand. The folder is emptied when the machine boots, and the count with it.
    """

    @staticmethod
    def path(runtime: Path, service: str) -> Path:
        return socket_path(runtime, service, "starts")

    @classmethod
    def count(cls, runtime: Path, service: str) -> int:
        """One more. Returns how many restarts that makes: 0 for the first start."""
        starts = cls._read(runtime, service) + 1
        try:
            cls.path(runtime, service).write_text(f"{starts}\n")
        except OSError:
            pass  # a figure; not worth a service
        return starts - 1

    @classmethod
    def restarts(cls, runtime: Path, service: str) -> int:
        """How often it came back so far."""
        return max(0, cls._read(runtime, service) - 1)

    @classmethod
    def _read(cls, runtime: Path, service: str) -> int:
        try:
            return max(0, int(cls.path(runtime, service).read_text()))
        except (OSError, ValueError):
            return 0

    @classmethod
    def forget(cls, runtime: Path, service: str) -> None:
        """It was stopped on purpose, or waits for somebody to act."""
        cls.path(runtime, service).unlink(missing_ok=True)


def own_folder(folder: Path) -> None:
    """Make the folder of the sockets, or see that it is ours. Raises CannotStart."""
    try:
        make_private(folder)
    except OSError as error:
        raise CannotStart(
            f"The folder {error.filename} can't be made ({error.strerror}); make it, or set paths.runtime."
        ) from error
    if folder.stat().st_uid not in (0, os.getuid()) and not os.access(folder.parent, os.W_OK):
        raise CannotStart(f"The folder {folder} belongs to another user; set paths.runtime.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotStart(why_not(folder / "lock", PermissionError(), "paths.runtime"))
