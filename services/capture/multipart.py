"""Splits the body of a `multipart/x-mixed-replace` answer into its pictures."""

from __future__ import annotations

import re

_MOST_HEADER = 1 << 14
_MOST_PART = 1 << 25
_MOST_DIGITS = 12
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


class NotMultipart(ValueError):
    """The body isn't what its header says."""


class MultipartReader:
    """Feed it what comes, get the parts that are whole.

    A part's length stands in its header; for the servers that leave it out, a part ends at the next boundary.
    """

    def __init__(self, boundary: str | None) -> None:
        # Some servers name the boundary with the dashes that belong before it.
        self._delimiter = b"--" + (boundary or "").lstrip("-").encode(errors="replace")
        self._buffer = bytearray()
        self._in_part = False
        self._length: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that `data` completes. Raises NotMultipart."""
        self._buffer += data
        parts = []
        while (part := self._next()) is not None:
            if part:
                parts.append(part)
        return parts

    def _next(self) -> bytes | None:
        if not self._in_part:
            end = _HEADER_END.search(self._buffer)
            if end is None:
                if len(self._buffer) > _MOST_HEADER:
                    raise NotMultipart("a part's header doesn't end")
                return None
            length = _LENGTH.search(bytes(self._buffer[: end.end()]).replace(b"\r\n", b"\n"))
            self._length = int(length[1][:_MOST_DIGITS]) if length else None
            self._in_part = True
            del self._buffer[: end.end()]
        size = self._size()
        if max(size or 0, len(self._buffer) if size is None else 0) > _MOST_PART:
            raise NotMultipart("a part doesn't end")
        if size is None or len(self._buffer) < size:
            return None
        part = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._in_part = False
        return part

    def _size(self) -> int | None:
        if self._length is not None:
            return self._length
        if self._delimiter == b"--":
            raise NotMultipart("it names neither its boundary nor how long a part is")
        at = self._buffer.find(self._delimiter)
        return None if at < 0 else at
