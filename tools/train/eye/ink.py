"""Digits that people wrote, from the training parts of the collections, drawn at any height by any pen."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from tools.train.data import datasets
from tools.train.data.datasets import DataError
from tools.train.eye.canvas import Array, Random
from tools.train.eye.pens import Style, write_picture, write_strokes

UNIPEN = {"syn", "apb", "apa", "app", "val", "ced", "gmd"}
"""Contributors of UNIPEN to train on; the others judge."""
_HELD_OUT_WRITERS = 10
"""One in so many of UNIPEN's writers is for validation."""
_THIN = 0.075
"""Below this thickness a small picture can't be drawn: strokes are taken in its place."""


class Ink:
    """Draws digits of one part of the collections: those to train on, or those held out for validation."""

    def __init__(self, folder: Path, part: Literal["train", "validation"] = "train") -> None:
        """Load from the data folder. Raises DataError where a needed set is missing."""
        self._strokes = [(d.label, list(d.strokes)) for d in datasets.pendigits(folder, part)]
        self._strokes += _unipen(folder / "unipen" / "unipen_1a_digits.json.gz", part)
        self._pictures = [list(datasets.mnist(folder, part).images)]
        if part == "train":
            self._pictures += [
                list(found) for found in map(_optional(folder), ("bhmsds", "semeion")) if len(found)
            ]
        self._ends = (0.8, 0.95, 1.0) if len(self._pictures) > 1 else (1.0,)

    def digit(self, rng: Random, height: float, style: Style) -> Array:
        """Coverage (h, w) uint8 of a digit about `height` pixels high, cut to its ink."""
        style = style.varied(rng)
        if style.source < 0.55 or style.width < _THIN:
            label, strokes = self._strokes[int(rng.integers(len(self._strokes)))]
            return write_strokes(rng, [*strokes, *_extras(rng, label, strokes)], height, style)
        share = (style.source - 0.55) / 0.45
        number = next(i for i, end in enumerate(self._ends) if share <= end)
        pictures = self._pictures[min(number, len(self._pictures) - 1)]
        return write_picture(pictures[int(rng.integers(len(pictures)))], height, style)

    def one(self, rng: Random, height: float, style: Style) -> Array:
        """A 1, as `digit` draws it: rows of bars are hard to part."""
        ones = [strokes for label, strokes in self._strokes if label == 1]
        return write_strokes(rng, ones[int(rng.integers(len(ones)))], height, style.varied(rng))


def _optional(folder: Path) -> Callable[[str], Array]:
    def load(name: str) -> Array:
        try:
            return getattr(datasets, name)(folder).images  # type: ignore[no-any-return]
        except DataError:
            return np.zeros((0, 28, 28), np.uint8)

    return load


def _extras(rng: Random, label: int, strokes: list[Array]) -> list[Array]:
    """Strokes that some schools add: a slash through 0, a bar through 7, a flag and a foot to 1."""
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    size = high - low
    if label == 0 and rng.random() < 0.08:
        return [np.array([[high[0], low[1]], [low[0], high[1]]]) + rng.normal(0, 0.08, (2, 2)) * size]
    if label == 7 and rng.random() < 0.15:
        y = low[1] + rng.uniform(0.4, 0.6) * size[1]
        x = low[0] + rng.uniform(0.3, 0.6) * size[0]
        return [np.array([[x - 0.28 * size[1], y], [x + 0.28 * size[1], y - rng.normal(0, 0.05) * size[1]]])]
    if label == 1 and size[0] < 0.35 * size[1] and rng.random() < 0.2:
        foot = np.array([[-0.25, 0], [0.25, 0]]) * size[1] + [low[0] + size[0] / 2, high[1]]
        flag = np.array([[-0.25, 0.25], [0, 0]]) * size[1] + [high[0], low[1]]
        return [foot, flag] if rng.random() < 0.4 else [foot] if rng.random() < 0.4 else [flag]
    return []


def _unipen(path: Path, part: str) -> list[tuple[int, list[Array]]]:
    """UNIPEN's digits, y downwards, where the collection is there."""
    if not path.is_file():
        return []
    found = []
    for entry in json.loads(gzip.decompress(path.read_bytes())):
        held_out = sum(entry["writer"].encode()) % _HELD_OUT_WRITERS == 0
        if entry["contributor"] not in UNIPEN or held_out != (part == "validation"):
            continue
        strokes = [np.array(stroke, np.float64) * [1, -1] for stroke in entry["strokes"] if stroke]
        if _plausible(strokes):
            found.append((int(entry["label"]), strokes))
    return found


def _plausible(strokes: list[Array]) -> bool:
    """Whether strokes can be a digit: enough points, and not a flat line or a speck."""
    if sum(map(len, strokes)) < 8:
        return False
    width, height = np.ptp(np.concatenate(strokes), axis=0)
    return bool(height > 0 and width < 2.0 * height)
