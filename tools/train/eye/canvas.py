"""What is written on a scene before it is seen: layers of ink, and whose ink each pixel is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Random = np.random.Generator

INKED = 40
"""Coverage, of 255, from which a pixel is a digit's ink."""
_MOST = 250


class SceneCanvas:
    """Layers of one scene (side, side) uint8: digits' ink, its owners, other ink, and what is left open."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.ink: Array = np.zeros((side, side), np.uint8)
        """Coverage by handwritten digits, 0 to 255."""
        self.owner: Array = np.zeros((side, side), np.uint8)
        """Which digit's ink it is, from 1; 0 for none."""
        self.other: Array = np.zeros((side, side), np.uint8)
        """Coverage by anything else: letters, lines, figures."""
        self.unclear: Array = np.zeros((side, side), np.uint8)
        """Not 0 where a person could take it for a digit or not: training looks away."""
        self.areas: dict[int, float] = {}
        """How much ink each digit has, also beyond the edge, in pixels of full coverage."""
        self.smallest = float(side)
        """The longer side of the smallest digit, in pixels."""

    def write(self, digit: Array, x: float, y: float) -> None:
        """Add a digit's coverage (h, w) with its upper left corner at x, y; it may run out of the scene."""
        number = len(self.areas) + 1
        window = self._window(digit, x, y)
        if window is None or number > _MOST:
            return
        target, part = window
        own = digit[part]
        ink, owner = self.ink[target], self.owner[target]
        owner[(own > ink) & (own > INKED)] = number
        np.maximum(ink, own, out=ink)
        self.areas[number] = float(digit.sum()) / 255
        self.smallest = min(self.smallest, float(max(digit.shape)))

    def add(
        self, patch: Array, x: float, y: float, *, clear_of: Array | None = None, unclear: bool = False
    ) -> None:
        """Add coverage that is no digit, unless it touches `clear_of` (side, side) bool."""
        window = self._window(patch, x, y)
        if window is None:
            return
        target, part = window
        if clear_of is not None and clear_of[target].any():
            return
        np.maximum(self.other[target], patch[part], out=self.other[target])
        if unclear:
            self.unclear[target] = 255

    def _window(
        self, patch: Array, x: float, y: float
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        left, top = round(x), round(y)
        height, width = patch.shape
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.side), min(top + height, self.side)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        inside = slice(y0, y1), slice(x0, x1)
        return inside, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def log_uniform(rng: Random, low: float, high: float) -> float:
    """A number between the two whose logarithm is evenly spread."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))
