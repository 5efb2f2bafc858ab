"""What a service tells whoever supervises it: systemd through its socket, everyone through a failure note."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from messages.bus import socket_path


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect(address)
            sender.send(message.encode())
        except OSError:
            pass  # systemd is restarting; the watchdog decides


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
        fresh = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(asdict(cls(reason, time.time()))))
            fresh.replace(path)
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
