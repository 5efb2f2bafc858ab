"""A bundle as one file: its zip, read in memory without trusting it, and written reproducibly."""

from __future__ import annotations

import os
from pathlib import Path

from messages.text import file_name
from models.bundle import zipped
from models.bundle.bundle import FILE_LIMITS, Bundle, read_regular

MAX_ARCHIVE_BYTES = sum(FILE_LIMITS.values()) + (64 << 10)


def pack(bundle: Bundle) -> bytes:
    """The bundle's zip: the same bundle, the same bytes."""
    return zipped.write(bundle.files())


def unpack(content: bytes, name: str = "archive") -> Bundle:
    """The bundle in a zip; its files stay in memory. Raises Refusal, `name` in its sentence."""
    return Bundle.from_files(zipped.read(content, FILE_LIMITS), Path(name))


def read_archive(path: str | os.PathLike[str]) -> Bundle:
    """The bundle in the zip at `path`, a regular file. Raises Refusal."""
    path = Path(path)
    return unpack(read_regular(path, MAX_ARCHIVE_BYTES), file_name(path))
