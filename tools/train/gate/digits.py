"""What a digit is to the gate: real ones, those of our own hand, and those cut off their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ink import synthetic_handwriting as hand
from tools.train.data import datasets

Pixels = NDArray[np.uint8]
Random = np.random.Generator
Drawer = Callable[[Random], Pixels]
"""Draws one thing: ink bright on black, any size."""


class Digits:
    """Real digits of the training parts, drawn large."""

    def __init__(self, data: Path) -> None:
        """Raises DataError where a set is missing."""
        self._mnist = datasets.mnist(data, "train")
        self._pen = datasets.pendigits(data, "train")
        self._bhmsds = datasets.bhmsds(data).images
        self._semeion = datasets.semeion(data).images
        self._lying = np.flatnonzero(np.isin(self._mnist.labels, (2, 3, 4, 5, 7)))

    def ways(self) -> list[tuple[float, Drawer]]:
        """Ways to draw a digit, each with its share."""
        return [
            (3, self.from_mnist),
            (2, self.from_bhmsds),
            (1, self.from_semeion),
            (3, self.from_pen),
            (3, from_hand),
        ]

    def any(self, rng: Random) -> Pixels:
        """A digit of any source."""
        ways = self.ways()
        share = np.array([way[0] for way in ways])
        return ways[int(rng.choice(len(ways), p=share / share.sum()))][1](rng)

    def from_mnist(self, rng: Random) -> Pixels:
        return enlarged(self._mnist.images[rng.integers(len(self._mnist))], rng)

    def from_bhmsds(self, rng: Random) -> Pixels:
        image = enlarged(self._bhmsds[rng.integers(len(self._bhmsds))], rng)
        narrow = float(rng.uniform(0.5, 0.85))
        return np.asarray(cv2.resize(image, None, fx=narrow, fy=1, interpolation=cv2.INTER_AREA), np.uint8)

    def from_semeion(self, rng: Random) -> Pixels:
        image = cv2.resize(self._semeion[rng.integers(len(self._semeion))], (64, 80))
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.5), np.uint8)

    def from_pen(self, rng: Random) -> Pixels:
        return drawn(list(self._pen[rng.integers(len(self._pen))].strokes), rng)

    def on_its_side(self, rng: Random) -> Pixels:
        """A digit that nobody would take for one, lying."""
        image = self._mnist.images[rng.choice(self._lying)]
        return enlarged(np.ascontiguousarray(np.rot90(image, int(rng.choice([1, 3])))), rng)


def from_hand(rng: Random) -> Pixels:
    (digit,) = hand.write(str(rng.integers(10)), int(rng.integers(2**31)))
    return drawn([np.array(stroke) for stroke in digit], rng)


def drawn(strokes: list[NDArray[np.float64]], rng: Random) -> Pixels:
    """Strokes of any scale as ink about 80 pixels tall."""
    points = np.vstack(strokes)
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-6)
    scale = 80 / max(float(size.max()), 1e-6)
    image = np.zeros((130, 130), np.uint8)
    brush = int(rng.integers(2, 12))
    offset = (130 - size * scale) / 2
    for stroke in strokes:
        path = np.rint(((stroke - low) * scale + offset) * 16).astype(np.int32)
        cv2.polylines(image, [path], False, (255,), brush, cv2.LINE_AA, 4)
    return image


def enlarged(image: Pixels, rng: Random) -> Pixels:
    """A small picture at four times its size, its edges drawn smooth again."""
    large = cv2.GaussianBlur(cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), (0, 0), 1.8)
    gain = float(rng.uniform(1.5, 3.5))
    return np.asarray(np.clip((large.astype(np.float32) - 90) * gain + 90, 0, 255), dtype=np.uint8)


def bent(image: Pixels, rng: Random) -> Pixels:
    """Sheared, turned and stretched a little."""
    height, width = image.shape
    angle, shear = rng.normal(0, 0.15), rng.normal(0, 0.15)
    stretch = np.exp(rng.normal(0, 0.16, 2))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch)
    centre = np.array([width / 2, height / 2])
    move = np.hstack([matrix, (centre - matrix @ centre)[:, None]])
    return np.asarray(cv2.warpAffine(image, move, (width, height)), dtype=np.uint8)
