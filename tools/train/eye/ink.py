"""Digits that people wrote, from the training parts of the collections, drawn at any height by any pen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tools.train.data import datasets
from tools.train.data.datasets import DataError, PenDigit
from tools.train.data.styles import restyled
from tools.train.eye.canvas import Array, Random
from tools.train.eye.pens import Style, write_picture, write_strokes

Part = Literal["train", "validation"]

_THIN = 0.075
"""Below this thickness a small picture can't be drawn: strokes are taken in its place."""
_SHARE_OF_STROKES = 0.55
_SHARES_OF_PICTURES = (0.8, 0.15, 0.05)
"""MNIST, BHMSDS, Semeion; where one is missing, MNIST stands in."""
_FEWEST_POINTS, _WIDEST = 8, 2.0
"""Strokes with fewer points, or so much wider than high, are no digit that a person reads."""


class InkSource:
    """Draws digits of one part of the collections: those to train on, or those held out for validation."""

    def __init__(self, folder: Path, part: Part = "train") -> None:
        """Load from the data folder. Raises DataError where MNIST or the pen strokes are missing."""
        written = datasets.pendigits(folder, part) + _if_there(lambda: datasets.unipen(folder, part), [])
        self._strokes = [digit for digit in written if _plausible(digit)]
        self._ones = [digit for digit in self._strokes if digit.label == 1]
        mnist = list(datasets.mnist(folder, part).images)
        self._pictures = [mnist, mnist, mnist]
        if part == "train":
            self._pictures[1] = _if_there(lambda: list(datasets.bhmsds(folder).images), mnist)
            self._pictures[2] = _if_there(lambda: list(datasets.semeion(folder).images), mnist)

    def digit(self, rng: Random, height: float, style: Style) -> Array:
        """Coverage (h, w) uint8 of a digit about `height` pixels high, cut to its ink."""
        style = style.varied(rng)
        if style.source < _SHARE_OF_STROKES or style.width < _THIN:
            return self._written(rng, self._strokes, height, style)
        share = (style.source - _SHARE_OF_STROKES) / (1 - _SHARE_OF_STROKES)
        pictures = self._pictures[int(np.searchsorted(np.cumsum(_SHARES_OF_PICTURES)[:-1], share))]
        return write_picture(pictures[int(rng.integers(len(pictures)))], height, style)

    def one(self, rng: Random, height: float, style: Style) -> Array:
        """A 1, as `digit` draws it: rows of bars are hard to part."""
        return self._written(rng, self._ones, height, style.varied(rng))

    def _written(self, rng: Random, digits: list[PenDigit], height: float, style: Style) -> Array:
        digit = digits[int(rng.integers(len(digits)))]
        return write_strokes(rng, restyled(digit.strokes, digit.label, rng), height, style)


def _if_there(load: Callable[[], list[Any]], otherwise: list[Any]) -> list[Any]:
    try:
        return load()
    except DataError:
        return otherwise


def _plausible(digit: PenDigit) -> bool:
    points = np.concatenate(digit.strokes)
    width, height = np.ptp(points, axis=0)
    return len(points) >= _FEWEST_POINTS and bool(width < _WIDEST * height)
