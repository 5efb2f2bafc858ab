"""Decodes JPEGs, and notices those that are damaged: cut short, or with a piece missing.

libjpeg makes up what is missing, in grey, and OpenCV calls that a success. libjpeg says so on standard error
alone, so that is where this listens while a picture is decoded. For the reader process: it has one thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import cv2
import numpy as np

from services.capture.photo import reduced_colour
from services.capture.picture_header import Size, picture_size
from services.capture.source import MAX_FRAME_PIXELS, DamagedFrame, Pixels

_STANDARD_ERROR = 2
_HARMLESS = re.compile(r"\b\d{1,2} extraneous bytes before marker|Invalid SOS parameters")
"""Complaints about the padding of many webcams, which loses nothing of the picture."""


def decode(jpeg: bytes, enough: Size | None = None) -> Pixels:
    """The picture, BGR (height, width, 3). Raises DamagedFrame.

    Where a picture that just covers (width, height) is `enough`, a larger one is decoded reduced.
    """
    size = picture_size(jpeg)
    if size is None:
        raise DamagedFrame("a picture that can't be decoded")
    if size[0] * size[1] > MAX_FRAME_PIXELS:
        raise DamagedFrame(
            f"a picture of {size[0]}×{size[1]} pixels, more than {MAX_FRAME_PIXELS // 1_000_000} million"
        )
    with complaints() as said:
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), reduced_colour(size, enough))
    if pixels is None:
        raise DamagedFrame("a picture that can't be decoded")
    if complaint := said():
        raise DamagedFrame(complaint)
    return pixels  # type: ignore[return-value]


@contextmanager
def complaints() -> Iterator[Callable[[], str]]:
    """Ask what it yields after the block: what libjpeg had to complain about in it, or nothing."""
    spool, terminal = _descriptors()
    os.dup2(spool, _STANDARD_ERROR)
    try:
        yield lambda: _take(spool)
    finally:
        os.dup2(terminal, _STANDARD_ERROR)


def _take(spool: int) -> str:
    length = os.lseek(spool, 0, os.SEEK_CUR)
    if not length:
        return ""
    text = os.pread(spool, 300, 0).decode("utf-8", "replace").strip()
    os.ftruncate(spool, 0)
    os.lseek(spool, 0, os.SEEK_SET)
    return "" if _HARMLESS.search(text) else text.partition("\n")[0]


@cache
def _descriptors() -> tuple[int, int]:
    """Where complaints are spooled meanwhile, and the standard error that this process was started with."""
    return os.memfd_create("complaints"), os.dup(_STANDARD_ERROR)
