"""Draw pen strokes as the pad does. Whoever trains a model for the pad draws with this same renderer."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""x to the right and y downwards, in canvas pixels."""
Stroke = Sequence[Point]
"""The pen's way from where it was set down to where it was lifted; one point is a dot."""

_SHIFT = 4
"""Positions are drawn to a sixteenth of a pixel."""
_FAR = 1 << 14
"""Points are held within this many pixels, far outside any canvas, so that hostile ones overflow nothing."""


def render(
    strokes: Sequence[Stroke | NDArray[np.floating]], size: tuple[int, int], brush: int
) -> NDArray[np.uint8]:
    """Ink, bright on black, of a canvas of `size` (width, height) pixels: (height, width) uint8, 0 or 255.

    Each point is a disc of radius `brush` pixels and the points of a stroke are joined as broad, so that a
    fast hand leaves no gaps. What lies outside the canvas is cut off. Raises ValueError for a brush below 1,
    an empty canvas or a point that is no finite number.
    """
    width, height = size
    if width < 1 or height < 1 or brush < 1:
        raise ValueError(
            f"a canvas of {width}×{height} pixels and a brush of {brush} leave nothing to draw on"
        )
    ink = np.zeros((height, width), np.uint8)
    for stroke in strokes:
        draw(ink, stroke, brush)
    return ink


def draw(ink: NDArray[np.uint8], stroke: Stroke | NDArray[np.floating], brush: int) -> None:
    """Add one stroke to a canvas in place, just as `render` would have drawn it."""
    if not len(stroke):
        return
    points = np.asarray(stroke, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("a stroke is a sequence of (x, y) points, all finite numbers")
    fixed = np.rint(np.clip(points, -_FAR, _FAR) * (1 << _SHIFT)).astype(np.int32)
    if len(fixed) > 1:
        cv2.polylines(ink, [fixed[:, None]], False, 255, 2 * brush + 1, cv2.LINE_8, _SHIFT)
    for x, y in fixed.tolist():
        cv2.circle(ink, (x, y), brush << _SHIFT, 255, -1, cv2.LINE_8, _SHIFT)
