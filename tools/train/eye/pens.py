"""Pens and hands: strokes and small pictures of digits, drawn at any height and any thickness of line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tools.train.eye.canvas import Array, Random, log_uniform

_SHIFT = 4
"""Fractional bits of the points that OpenCV draws."""
_NATURAL = 0.13
"""Thickness of a line in MNIST's pictures, as a share of the digit's height."""


@dataclass(frozen=True)
class Style:
    """How a row is written: one hand with one pen."""

    width: float
    """Of the line, as a share of the digit's height."""
    slant: float
    turn: float
    """Radians."""
    stretch: float
    """Width against the usual."""
    wobble: float
    """How far lines stray, as a share of the digit's height."""
    pressure: float
    """How much the line's thickness varies, 0 for a ballpoint."""
    source: float
    """Which collection its digits come from: an even number between 0 and 1."""

    @classmethod
    def drawn(cls, rng: Random, thinnest: float = 0.012, boldest: float = 0.21) -> Style:
        """Some hand and pen."""
        return cls(
            width=log_uniform(rng, thinnest, boldest),
            slant=rng.normal(0.05, 0.18),
            turn=rng.normal(0, 0.07),
            stretch=float(np.exp(rng.normal(0, 0.13))),
            wobble=abs(rng.normal(0, 0.02)),
            pressure=rng.uniform(0.2, 0.7) if rng.random() < 0.2 else 0.0,
            source=rng.random(),
        )

    def varied(self, rng: Random) -> Style:
        """The same hand a moment later."""
        return replace(
            self,
            width=self.width * float(np.exp(rng.normal(0, 0.08))),
            slant=self.slant + rng.normal(0, 0.05),
            turn=self.turn + rng.normal(0, 0.04),
            stretch=self.stretch * float(np.exp(rng.normal(0, 0.08))),
            source=self.source if rng.random() < 0.85 else rng.random(),
        )

    def matrix(self) -> Array:
        """From upright points (x, y), y downwards, to written ones: (2, 2)."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        return np.array([[cosine, -sine], [sine, cosine]]) @ [[self.stretch, -self.slant], [0, 1]]


def write_strokes(rng: Random, strokes: Sequence[Array], height: float, style: Style) -> Array:
    """Coverage (h, w) uint8 of pen strokes, scaled so that they are `height` pixels high."""
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    fine = 4.0 if height < 48 else 2.0 if height < 130 else 1.0
    tall = height * fine
    extent = max(high[1] - low[1], 0.6 * (high[0] - low[0]), 1e-6)
    matrix = style.matrix()
    wave, phase = rng.normal(0, 4, (2, 2)), rng.uniform(0, 6.3, 2)
    paths = []
    for stroke in strokes:
        unit = (stroke - (low + high) / 2) / extent
        unit = unit + style.wobble * np.sin(unit @ wave + phase)
        paths.append((_rounded(unit) if tall > 60 else unit) @ matrix.T * tall)
    thick = max(1.0, style.width * tall)
    everything = np.concatenate(paths)
    origin = everything.min(0) - thick / 2 - 3
    size = np.ceil(everything.max(0) - origin + thick / 2 + 3).astype(int)
    canvas: Array = np.zeros((size[1], size[0]), np.uint8)
    for path in paths:
        corners = np.rint((path - origin) * 2**_SHIFT).astype(np.int32)
        if len(corners) == 1:  # a dot
            corners = np.concatenate([corners, corners + 8])
        if style.pressure and len(corners) > 3:
            _press(rng, canvas, corners, thick, style.pressure)
        else:
            cv2.polylines(canvas, [corners], False, 255, max(1, round(thick)), cv2.LINE_AA, _SHIFT)
    return tight(canvas if fine == 1 else _shrunk(canvas, fine))


def write_picture(picture: Array, height: float, style: Style) -> Array:
    """Coverage (h, w) uint8 of a small picture of a digit, ink bright, enlarged to `height` smoothly."""
    fine = 2.0 if height < 48 else 1.0
    picture = tight(picture, 60)
    scale = height * fine / max(picture.shape[0], 0.6 * picture.shape[1])
    large = cv2.resize(np.pad(picture, 2), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(large, (0, 0), max(0.4 * scale, 0.3))
    level = 105 + 65 * float(np.clip((_NATURAL - style.width) / 0.09, -1, 1))
    gain = max(1.0, scale / 1.4)
    ink = cv2.convertScaleAbs(np.maximum(soft.astype(np.float32) - (level - 128 / gain), 0), alpha=gain)
    rows, columns = ink.shape
    matrix = replace(style, slant=style.slant / 2).matrix()
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]]) @ matrix.T
    origin = corners.min(0) - 2
    width, tall = np.ceil(corners.max(0) + 2 - origin).astype(int).tolist()
    ink = cv2.warpAffine(ink, np.column_stack([matrix, -origin]), (width, tall))
    return tight(ink if fine == 1 else _shrunk(ink, fine))


def tight(coverage: Array, level: int = 30) -> Array:
    """Coverage cut to where it is above the level; one pixel where it never is."""
    rows, columns = np.flatnonzero(coverage.max(1) > level), np.flatnonzero(coverage.max(0) > level)
    if not len(rows):
        return coverage[:1, :1]
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _shrunk(coverage: Array, times: float) -> Array:
    height, width = coverage.shape
    size = max(1, round(width / times)), max(1, round(height / times))
    return cv2.resize(coverage, size, interpolation=cv2.INTER_AREA)


def _rounded(points: Array) -> Array:
    """A path with its corners cut once (Chaikin, 1974), so that few points make no polygon."""
    if len(points) < 3:
        return points
    between = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1)
    return np.concatenate([points[:1], between.reshape(-1, 2), points[-1:]])


def _press(rng: Random, canvas: Array, corners: Array, thick: float, pressure: float) -> None:
    at = np.arange(len(corners) - 1) / rng.uniform(4, 12) + rng.uniform(0, 6.3)
    widths = np.maximum(1, np.rint(thick * (1 - pressure / 2 + pressure * np.sin(at) / 2)))
    for begin, end, width in zip(corners[:-1].tolist(), corners[1:].tolist(), widths.tolist(), strict=True):
        cv2.line(canvas, begin, end, 255, int(width), cv2.LINE_AA, _SHIFT)
