"""The acceptance test of an eye: it sees golden digits on a page, and looks fast enough."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from messages.errors import ErrorCode
from models.bundle.digits import SIDE, Golden
from models.eye.eye import Eye
from models.refusal import Refusal

FLOOR = 0.9
"""Share of the digits that must be seen, each once and in its place."""
SLOWEST_MS = 400.0
"""For one look at a frame of 640×480, on the slowest machine we support."""
_ROWS, _COLUMNS = 6, 8
_PITCH = 72
"""From one digit on the page to the next, in pixels."""
_SCALE = 2


def check_eye(content: bytes, golden: Golden) -> None:
    """Try an eye on golden digits. Raises EyeError where it can't be run, Refusal: inaccurate, too_slow."""
    eye, page, count = Eye(content), _page(golden), _ROWS * _COLUMNS
    places = [
        (x + width // 2) // _PITCH + _COLUMNS * ((y + height // 2) // _PITCH)
        for x, y, width, height in (digit.box for digit in eye.glance(page))
    ]
    started = time.perf_counter()  # the first look has set up what the others use
    eye.glance(page)
    milliseconds = (time.perf_counter() - started) * 1000
    seen = sum(places.count(place) == 1 for place in range(count))
    if seen < FLOOR * count:
        raise Refusal(
            ErrorCode.INACCURATE,
            f"The eye sees {seen} of {count} golden digits on a page; {FLOOR:.0%} are due.",
        )
    if milliseconds > SLOWEST_MS:
        raise Refusal(
            ErrorCode.TOO_SLOW,
            f"The eye takes {milliseconds:.0f} ms for a frame; {SLOWEST_MS:g} ms are allowed. "
            "Build a smaller network.",
        )


def _page(golden: Golden) -> NDArray[np.uint8]:
    """Golden digits, twice their size, dark on light: (480, 640) uint8."""
    page = np.full((480, 640), 235, np.uint8)
    margin = (_PITCH - SIDE * _SCALE) // 2
    for number in range(_ROWS * _COLUMNS):
        crop = golden.crops[number % len(golden.crops)]
        ink = crop.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
        y, x = (place * _PITCH + margin for place in divmod(number, _COLUMNS))
        page[y : y + SIDE * _SCALE, x : x + SIDE * _SCALE] -= (ink * 0.8).astype(np.uint8)
    return page
