"""Vary digits that are pictures: their lean, the thickness of their strokes, what a camera does to them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_SIDE = 72
"""Digits are varied at this size, then normalised: fine enough for half a crop's pixel."""
_INK = 48
"""The digit's longer side there."""


def varied(image: Pixels, rng: np.random.Generator, aspect: float = 0.12) -> Pixels:
    """Another hand's version of a digit (h, w), ink bright on black: (72, 72), not yet normalised.

    Affine and elastic change (Simard, Steinkraus, Platt, 2003) in one resampling, then stroke thickness.
    `aspect` is the standard deviation of the logarithm of the change of width.
    """
    height, width = image.shape
    scale = _INK / 20 * 28 / max(height, width)
    angle = np.deg2rad(rng.normal(0, 7))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    slant = np.array([[1.0, rng.normal(0, 0.14)], [0.0, 1.0]])
    stretch = np.diag([scale * np.exp(rng.normal(0, aspect)), scale])
    forward = turn @ slant @ stretch
    backward = np.linalg.inv(forward)
    centre = (width - 1) / 2, (height - 1) / 2
    columns, rows = (
        np.float32(x) * _COLUMNS + np.float32(y) * _ROWS + np.float32(middle)
        for (x, y), middle in zip(backward, centre, strict=True)
    )
    if rng.random() < 0.7:
        coarse = rng.normal(0, 1, (2, 5, 5)) * (rng.uniform(0.2, 1.5) * max(height, width) / 28)
        for moved, part in zip((columns, rows), coarse.astype(np.float32), strict=True):
            moved += cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    sampled = cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
    return thickened(np.asarray(sampled, np.uint8), rng)


_ROWS, _COLUMNS = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) - np.float32((_SIDE - 1) / 2)
_CROSS = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
_SQUARE = np.ones((3, 3), np.uint8)


def thickened(ink: Pixels, rng: np.random.Generator) -> Pixels:
    """Strokes a little thicker or thinner, softer or harder, or as they are."""
    choice = rng.random()
    if choice < 0.15:
        ink = np.asarray(cv2.dilate(ink, _CROSS), np.uint8)
    elif choice < 0.22:
        ink = np.asarray(cv2.dilate(ink, _SQUARE, iterations=2), np.uint8)
    elif choice < 0.37:
        thinner = np.asarray(cv2.erode(ink, _CROSS), np.uint8)
        ink = thinner if int(thinner.max()) > 128 else ink
    if rng.random() < 0.2:
        ink = np.asarray(cv2.convertScaleAbs(ink, alpha=rng.uniform(1.2, 3)), np.uint8)
    return ink


def photographed(ink: Pixels, rng: np.random.Generator) -> Pixels:
    """What locating finds of this digit in a photo: small, blurred, noisy, cut by a threshold."""
    height, width = ink.shape
    scale = rng.uniform(13, 60) / max(height, width)
    if scale < 1:
        size = max(4, round(width * scale)), max(4, round(height * scale))
        ink = np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.uint8)
        ink = np.pad(ink, 3)
    soft = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.3, 0.5 + max(ink.shape) / 60)).astype(np.float32)
    soft *= rng.uniform(0.3, 1.0)
    soft += rng.normal(0, rng.uniform(0, 5), soft.shape)
    cut = float(soft.max()) * rng.uniform(0.15, 0.4)
    kept = np.clip((soft - cut) * (255 / max(float(soft.max()) * rng.uniform(0.6, 1.0) - cut, 1.0)), 0, 255)
    found: Pixels = kept.astype(np.uint8)
    if rng.random() < 0.12:
        _residue(found, rng)
    return found


def _residue(ink: Pixels, rng: np.random.Generator) -> None:
    """A speck, or a piece of a ruled line that touches the digit's box."""
    height, width = ink.shape
    level = int(rng.integers(90, 256))
    if rng.random() < 0.5:
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.circle(ink, (x, y), 1 if max(ink.shape) > 30 else 0, level, -1)
        return
    ys, xs = np.nonzero(ink > 60)
    if not len(xs):
        return
    at = int(rng.choice((xs.min(), xs.max())))
    length = int(rng.uniform(0.2, 0.7) * (ys.max() - ys.min() + 1))
    top = int(rng.integers(ys.min(), max(ys.min() + 1, ys.max() - length + 1)))
    cv2.line(ink, (at, top), (at + int(rng.integers(-1, 2)), top + length), level, 1)
