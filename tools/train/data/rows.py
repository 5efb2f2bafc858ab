"""Digits as the eye cuts them out of written rows: touched by neighbours and lines, with pieces missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.eye.decoding import SeenDigit
from models.eye.eye import Eye
from tools.train.data.datasets import PenDigit
from tools.train.data.styles import restyled
from tools.train.eye.camera import posed, seen
from tools.train.eye.canvas import Array, Random, SceneCanvas, log_uniform
from tools.train.eye.grounds import Grounds, paper
from tools.train.eye.layouts import write_row
from tools.train.eye.pens import Style, write_strokes
from tools.train.eye.targets import targets

Pixels = NDArray[np.uint8]

_SIDE = 256
_NEAR = 0.25
"""How far what the eye sees may be from a digit's centre, in sizes of the digit."""


class RowMaker:
    """Writes rows on paper and looks at them with the shipped eye."""

    def __init__(self, digits: Sequence[PenDigit]) -> None:
        """`digits` are what the rows are written with. Raises EyeError."""
        self._digits = digits
        self._eye = Eye.of()
        self._grounds = Grounds(folders=(), drawn=1)

    def inks(self, rng: Random, count: int) -> Iterator[tuple[Pixels, int]]:
        """So many digits: the ink (h, w) that the eye gives to each, bright on black, and the digit."""
        made = 0
        while made < count:
            for ink, label in self._row(rng):
                yield ink, label
                made += 1
                if made == count:
                    return

    def _row(self, rng: Random) -> Iterator[tuple[Pixels, int]]:
        written = _LabelledInk(self._digits)
        canvas = _LabelledCanvas(_SIDE, written)
        height = log_uniform(rng, 18, 0.5 * _SIDE)
        write_row(rng, canvas, written, height, rng.uniform(-0.09, 0.3), uneven=0.05)
        ground = paper(rng, _SIDE)
        if rng.random() < 0.5:
            ground = posed(rng, canvas, ground)
        grey, contrast = seen(rng, canvas, ground, self._grounds, clean=False)
        found = self._eye.glance(grey)
        for x, y, width, height, number in targets(canvas, grey, contrast).boxes.tolist():
            near = _nearest(found, x + width / 2, y + height / 2, _NEAR * max(width, height))
            if near is not None:
                yield near.ink, canvas.labels[number - 1]


def _nearest(found: Sequence[SeenDigit], x: float, y: float, reach: float) -> SeenDigit | None:
    def far(digit: SeenDigit) -> float:
        left, top, width, height = digit.box
        return float(np.hypot(left + width / 2 - x, top + height / 2 - y))

    near = min(found, key=far, default=None)
    return near if near is not None and far(near) < reach else None


class _LabelledInk:
    """Gives a row its digits, and says which it gave last."""

    def __init__(self, digits: Sequence[PenDigit]) -> None:
        self._digits = digits
        self.last = -1

    def digit(self, rng: Random, height: float, style: Style) -> Array:
        """As `InkSource.digit`."""
        chosen = self._digits[int(rng.integers(len(self._digits)))]
        self.last = chosen.label
        return write_strokes(rng, restyled(chosen.strokes, chosen.label, rng), height, style.varied(rng))

    one = digit


class _LabelledCanvas(SceneCanvas):
    """Also keeps which digit each number is."""

    def __init__(self, side: int, ink: _LabelledInk) -> None:
        super().__init__(side)
        self._ink = ink
        self.labels: list[int] = []

    def write(self, digit: Array, x: float, y: float) -> None:
        """As `SceneCanvas.write`, of the digit that the ink gave last."""
        before = len(self.areas)
        super().write(digit, x, y)
        if len(self.areas) > before:
            self.labels.append(self._ink.last)
