"""Where digits stand: alone, in rows, touching, in columns, grids and cells, strewn, partly out of view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from tools.train.eye.canvas import Array, Random, SceneCanvas, log_uniform
from tools.train.eye.ink import InkSource
from tools.train.eye.pens import Style

SMALLEST = 11.0
"""Height of the smallest digit, in pixels."""
LARGEST = 400.0
"""Height of the largest digit in a picture that it does not fill."""
_NOWHERE = 10**6


def alone(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """One digit of any size, anywhere, in every other scene a large one."""
    largest = min(0.9 * canvas.side, LARGEST)
    height = rng.uniform(60, largest) if rng.random() < 0.5 else log_uniform(rng, SMALLEST, largest)
    _place(rng, canvas, ink.digit(rng, height, Style.drawn(rng)))


def tiny(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """One or a few small digits by a thin pen, far apart."""
    style = Style.drawn(rng, thinnest=0.012, boldest=0.05 if rng.random() < 0.5 else 0.11)
    for _ in range(int(rng.integers(1, 4))):
        _place(rng, canvas, ink.digit(rng, log_uniform(rng, SMALLEST, 0.16 * canvas.side), style))


def filling(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """One digit that fills the picture, or runs a little out of it."""
    digit = ink.digit(rng, rng.uniform(0.55, 1.1) * canvas.side, Style.drawn(rng))
    free = canvas.side - np.array(digit.shape[::-1])
    x, y = free / 2 + rng.normal(0, 0.35, 2) * np.abs(free) / 2
    canvas.write(digit, x, y)


def row(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """A row with air between the digits."""
    height = log_uniform(rng, SMALLEST + 1, 0.45 * canvas.side)
    write_row(
        rng, canvas, ink, height, rng.uniform(0.1, 0.7) if rng.random() < 0.8 else rng.uniform(0.7, 1.8)
    )


def tight(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """A row whose digits nearly touch, or some of them do."""
    write_row(rng, canvas, ink, log_uniform(rng, 16, 0.5 * canvas.side), rng.uniform(-0.02, 0.1), uneven=0.05)


def touching(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """A row whose digits touch or overlap a little."""
    write_row(rng, canvas, ink, log_uniform(rng, 18, 0.55 * canvas.side), rng.uniform(-0.1, 0.0), uneven=0.03)


def bars(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """A row that is mostly ones."""
    height = log_uniform(rng, 14, 0.6 * canvas.side)
    write_row(rng, canvas, ink, height, rng.uniform(0.12, 0.5), ones=rng.uniform(0.5, 1.0))


def rows(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """Several rows, as on a sheet."""
    height = log_uniform(rng, SMALLEST + 1, 0.2 * canvas.side)
    pitch, tilt = height * rng.uniform(1.05, 2.4), rng.normal(0, 0.06)
    gap = rng.uniform(-0.05, 0.12) if rng.random() < 0.4 else rng.uniform(0.12, 0.9)
    style = Style.drawn(rng)
    y = rng.uniform(-0.4, 2.0) * height
    while y < canvas.side and len(canvas.areas) < 90:
        write_row(rng, canvas, ink, height, gap, style=style, middle=y, tilt=tilt)
        y += pitch


def column(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """Digits or short numbers below each other."""
    height, style = log_uniform(rng, SMALLEST + 1, 0.25 * canvas.side), Style.drawn(rng)
    x, y = rng.uniform(0.05, 0.8) * canvas.side, rng.uniform(-0.2, 0.5) * height
    gap, count = rng.uniform(0.02, 0.8), int(rng.integers(1, 4))
    while y < canvas.side:
        at = x + rng.normal(0, 0.1) * height
        for _ in range(count):
            digit = ink.digit(rng, height, style)
            canvas.write(digit, at, y)
            at += digit.shape[1] + rng.uniform(0.1, 0.4) * height
        y += height * (1 + gap)


def grid(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """Cells with a digit each, mostly with lines around them, as in a form or a Sudoku."""
    _cells(rng, canvas, ink, log_uniform(rng, 20, 0.4 * canvas.side), middle=False)


def cell(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """One cell as large as the picture, its lines at the edges, with or without parts of its neighbours."""
    _cells(rng, canvas, ink, rng.uniform(0.62, 1.2) * canvas.side, middle=True)


def strewn(rng: Random, canvas: SceneCanvas, ink: InkSource) -> None:
    """Digits of all sizes by different pens, anywhere."""
    taken = np.zeros((canvas.side, canvas.side), bool)
    for _ in range(int(rng.integers(2, 14))):
        digit = ink.digit(rng, log_uniform(rng, SMALLEST, 0.5 * canvas.side), Style.drawn(rng))
        x, y = rng.uniform(-0.15, 1.0, 2) * canvas.side - np.array(digit.shape[::-1]) / 4
        area = taken[max(0, int(y)) : int(y) + digit.shape[0], max(0, int(x)) : int(x) + digit.shape[1]]
        if area.size and not area.any():
            area[:] = True
            canvas.write(digit, x, y)


Layout = Callable[[Random, SceneCanvas, InkSource], None]
LAYOUTS: dict[Layout, float] = {
    alone: 0.11,
    tiny: 0.07,
    filling: 0.07,
    row: 0.13,
    tight: 0.13,
    touching: 0.20,
    bars: 0.03,
    rows: 0.07,
    column: 0.02,
    grid: 0.05,
    cell: 0.10,
    strewn: 0.02,
}
"""How often each is drawn."""


def _place(rng: Random, canvas: SceneCanvas, digit: Array) -> None:
    free = np.maximum(canvas.side - np.array(digit.shape[::-1]), 0)
    canvas.write(digit, *rng.uniform(0.01, 0.99, 2) * free)


class Ink(Protocol):
    """Draws digits, as `InkSource` does."""

    def digit(self, rng: Random, height: float, style: Style) -> Array:
        """Coverage (h, w) uint8 of some digit."""

    def one(self, rng: Random, height: float, style: Style) -> Array:
        """Coverage (h, w) uint8 of a 1."""


def write_row(
    rng: Random,
    canvas: SceneCanvas,
    ink: Ink,
    height: float,
    gap: float,
    *,
    uneven: float = 0.04,
    ones: float = 0.0,
    style: Style | None = None,
    middle: float | None = None,
    tilt: float | None = None,
) -> None:
    """Digits beside each other with `gap` between their inks, in heights; below 0 they overlap."""
    side, count = canvas.side, int(rng.integers(2, 11))
    tilt = rng.normal(0, 0.09) if tilt is None else tilt
    middle = rng.uniform(0.1, 0.9) * side if middle is None else middle
    mixed = style is None and rng.random() < 0.4
    style = style or Style.drawn(rng)
    size_varies = abs(rng.normal(0, 0.1))
    free = side - count * height * (0.62 + gap)
    x = rng.uniform(0, free) if free > 0 else rng.uniform(-0.4, 0.3) * side
    before: Array | None = None
    for _ in range(count):
        if mixed:
            style = Style.drawn(rng)
        wanted = height * float(np.exp(rng.normal(0, size_varies)))
        digit = (ink.one if rng.random() < ones else ink.digit)(rng, wanted, style)
        if before is not None:
            x += max(_to_touch(before, digit) + (gap + rng.normal(0, uneven)) * height, 0.15 * height)
        if x > side:
            return
        y = middle + tilt * (x - side / 2) + rng.normal(0, 0.04) * height - digit.shape[0] / 2
        canvas.write(digit, x, y)
        before = digit


def _to_touch(left: Array, right: Array) -> int:
    """By how much `right` begins right of `left`'s left edge when their inks just meet, centred on a line."""
    height = max(left.shape[0], right.shape[0])
    reach = np.ones((max(3, height // 8), 1), np.uint8)

    def free(ink: Array) -> Array:  # pixels before the first ink of each row
        rows: Array = np.zeros((height, ink.shape[1]), np.uint8)
        top = (height - ink.shape[0]) // 2
        rows[top : top + ink.shape[0]] = ink > 90
        inked = cv2.dilate(rows, reach) > 0
        return np.where(inked.any(1), inked.argmax(1), _NOWHERE)

    space = int((free(left[:, ::-1]) + free(right)).min())
    return int(left.shape[1]) - (space if space < _NOWHERE else 0)


def _cells(rng: Random, canvas: SceneCanvas, ink: InkSource, pitch: float, *, middle: bool) -> None:
    side, style = canvas.side, Style.drawn(rng)
    size = np.array([pitch * rng.uniform(0.8, 1.2), pitch])
    origin = rng.uniform(-0.6, 0.3, 2) * size
    if middle:
        origin = (side - size) / 2 + rng.normal(0, 0.05, 2) * size
    filled, share = rng.uniform(0.25, 1), rng.uniform(0.4, 0.92)
    numbers = [np.arange(-1, int((side - o) / s) + 1) for o, s in zip(origin, size, strict=True)]
    for i in numbers[1]:
        for j in numbers[0]:
            if rng.random() > filled and not (middle and i == j == 0):
                continue
            height = share * pitch * float(np.exp(rng.normal(0, 0.12)))
            if height >= SMALLEST:
                digit = ink.digit(rng, height, style)
                centre = origin + (np.array([j, i]) + 0.5 + rng.normal(0, 0.06, 2)) * size
                canvas.write(digit, *(centre - np.array(digit.shape[::-1]) / 2))
    if rng.random() < 0.9:
        _lines(rng, canvas, origin, size)


def _lines(rng: Random, canvas: SceneCanvas, origin: Array, size: Array) -> None:
    strength, thick = rng.uniform(70, 255), max(1, round(size[1] * rng.uniform(0.008, 0.06)))
    third, missing = int(rng.integers(0, 3)), rng.random() < 0.2
    for axis in (0, 1):
        for number in range(-1, int((canvas.side - origin[axis]) / size[axis]) + 2):
            if missing and rng.random() < 0.5:
                continue
            at = round(origin[axis] + number * size[axis])
            begin, end = ((at, 0), (at, canvas.side)) if axis == 0 else ((0, at), (canvas.side, at))
            wide = thick * (2 if number % 3 == third else 1)
            cv2.line(canvas.other, begin, end, strength, wide, cv2.LINE_AA)
