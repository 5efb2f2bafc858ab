"""Log records as entries of systemd's journal, with fields one can ask for: `journalctl SMARTCAR_EVENT=…`.

The journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) is a datagram an entry: a dozen lines here.
systemd-python has no wheels and would want a compiler and libsystemd-dev on the car; cysystemd has them, but
would be one more C extension to wait for with each Python.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
LONGEST_MESSAGE = 48 << 10
"""In characters; an entry must fit into a datagram, and nobody reads more."""
PATIENCE_S = 0.2
"""A journal that hangs costs its line, not the service."""
FIELDS = "fields"
"""The attribute of a record with further fields of its entry: see `services.log.fields`."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


class JournalHandler(logging.Handler):
    """Sends records to the journal; what it doesn't take goes to `otherwise`."""

    def __init__(self, service: str, otherwise: logging.Handler, address: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))  # else basicConfig puts level and name before it
        self._service = service
        self._otherwise = otherwise
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(PATIENCE_S)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # By its path each time: journald may be restarted.
            self._socket.sendto(datagram(self._entry(record)), self._address)
        except TimeoutError:
            pass
        except OSError:
            self._otherwise.emit(record)
        except Exception:
            self.handleError(record)

    def _entry(self, record: logging.LogRecord) -> dict[str, str]:
        more: Mapping[str, str] = getattr(record, FIELDS, {})
        return {
            "MESSAGE": self.format(record)[:LONGEST_MESSAGE],
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": f"smartcar-{self._service}",
            "SMARTCAR_SERVICE": self._service,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            "LOGGER": record.name,
            **more,
        }

    def close(self) -> None:
        self._socket.close()
        super().close()


def priority(level: int) -> int:
    """The journal's priority (syslog's) for a level of `logging`."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def datagram(entry: Mapping[str, str]) -> bytes:
    """The entry on the wire: `NAME=value`, or with a length before it where the value has several lines."""
    parts = []
    for name, text in entry.items():
        value = text.encode(errors="replace")
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


def is_ours() -> bool:
    """Whether standard error goes to the journal: systemd says which stream that is (systemd.exec(5))."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
