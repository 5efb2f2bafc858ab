"""Bring any handwritten digit into the form the model was trained on: MNIST's own.

The method is that of LeCun, Cortes and Burges: ink bright on black, its aspect kept, fitted into 20×20
pixels, its centre of mass at the centre of 28×28. Two things are added: strokes that the shrinking made faint
are stretched to full contrast, as MNIST's are, and a soft edge fainter than an eighth of the ink does not
count towards its size. The pad, the camera and the trainer all use this one function.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 28
"""Height and width of a crop, in pixels."""
FIT = 20
"""The ink's longer side in a crop, in pixels."""
_FAINT = 8
"""Ink weaker than this part of the strongest does not stretch the box."""


def normalise(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The ink of one digit, bright on black (h, w) uint8 of any size, as a crop (28, 28) uint8.

    Blank in, zeros out. Any ink in, ink out. Raises ValueError for another shape or dtype.
    """
    if ink.ndim != 2 or ink.dtype != np.uint8:
        raise ValueError(f"ink is (h, w) uint8, bright on black, not {ink.shape} {ink.dtype}")
    crop = np.zeros((SIDE, SIDE), np.uint8)
    strongest = int(ink.max()) if ink.size else 0
    if not strongest:
        return crop
    _, strong = cv2.threshold(ink, strongest // _FAINT, 255, cv2.THRESH_BINARY)
    x, y, width, height = cv2.boundingRect(strong)
    fitted = _full_contrast(_fit(ink[y : y + height, x : x + width]))
    height, width = fitted.shape
    mass = cv2.moments(fitted)
    left = round(SIDE / 2 - mass["m10"] / mass["m00"])
    top = round(SIDE / 2 - mass["m01"] / mass["m00"])
    left, top = min(max(left, 0), SIDE - width), min(max(top, 0), SIDE - height)
    crop[top : top + height, left : left + width] = fitted
    return crop


def _fit(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = ink.shape
    longer = max(height, width)
    if longer == FIT:
        return ink
    size = max(1, round(width * FIT / longer)), max(1, round(height * FIT / longer))
    if longer < FIT:
        return np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    fitted = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    if not fitted.any():  # a hair line in a large picture: averaged away, so thicken it first
        thick = longer // FIT + 1
        thickened = cv2.dilate(ink, np.ones((thick, thick), np.uint8))
        fitted = cv2.resize(thickened, size, interpolation=cv2.INTER_AREA)
    return np.asarray(fitted, dtype=np.uint8)


def _full_contrast(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stretch so that the typical stroke, the median along the longer axis of the strongest pixel, is 255."""
    along = 1 if ink.shape[0] >= ink.shape[1] else 0
    peaks = sorted(cv2.reduce(ink, along, cv2.REDUCE_MAX).ravel().tolist())
    typical = peaks[len(peaks) // 2] or peaks[-1]
    if typical >= 255:
        return ink
    return np.asarray(cv2.convertScaleAbs(ink, alpha=255 / typical), dtype=np.uint8)
