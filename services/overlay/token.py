"""The page's token: made at the first start, readable by its owner alone."""

from __future__ import annotations

import logging
import os
import re
import secrets
from pathlib import Path

from messages import durable
from messages.disk import why_not

_WHOLE = re.compile(rb"[A-Za-z0-9_-]{43}")  # 32 bytes, url-safe

log = logging.getLogger(__name__)


class Token:
    """The token in the file `path`; a file that is absent, empty or half-written gets a fresh one.

    Where it can neither be read nor made, there is one for this run alone, and `problem` says why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.value = secrets.token_urlsafe(32)
        self.problem = ""
        try:
            self.value = _obtain(path, self.value)
        except OSError as error:
            why = why_not(path, error)
            self.problem = f"The page's token can't be kept, so each start gives it another address: {why}."

    def keep(self) -> bool:
        """Try again; whether it is kept. One that can be read again holds from the next start on."""
        try:
            _obtain(self._path, self.value)
        except OSError:
            return False
        self.problem = ""
        return True


def _obtain(path: Path, fresh: str) -> str:
    token = _read(path)
    if token is None:
        token = fresh
        write_private(path, token + "\n")
    return token


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        content = os.read(descriptor, 256).strip()
        if os.fstat(descriptor).st_mode & 0o077:
            log.warning("%s could be read by others; only its owner may now", path)
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    if _WHOLE.fullmatch(content):
        return content.decode()
    log.warning("%s holds no whole token; a new one is made, so open the page by its new address", path)
    return None


def write_private(path: Path, content: str, mode: int = 0o600) -> None:
    """Replace the file `path` in one step by one with that mode, its folder made where it is missing.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    durable.replace_file(path, content.encode(), mode)
