"""Vary pen strokes as hands do, and place them in the pad's boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.ink.strokes import render
from tools.train.data.datasets import PenStroke

BOX = 98
"""Inner side of one of the pad's boxes, in canvas pixels."""
BRUSH = 4
"""The pad's own brush radius, in canvas pixels."""


def place(
    strokes: Sequence[PenStroke], rng: np.random.Generator, smallest: float = 0.5, largest: float = 0.88
) -> list[PenStroke]:
    """Scale a digit and set it off-centre into a box, as hands do, its aspect kept; canvas pixels.

    Its height is `smallest` to `largest` of the box; a wide one is held inside.
    """
    points = np.vstack(strokes)
    low = points.min(axis=0)
    size = np.maximum(points.max(axis=0) - low, 1e-3)
    scale = min(rng.uniform(smallest, largest) * BOX / size[1], (BOX - 8) / size[0])
    free = (BOX - size * scale) / 2
    offset = free + rng.uniform(-1, 1, 2) * np.maximum(free - 4, 0) * 0.6
    return [(stroke - low) * scale + offset for stroke in strokes]


def on_pad(strokes: Sequence[PenStroke], rng: np.random.Generator, brush: int = BRUSH) -> NDArray[np.uint8]:
    """The ink of a digit written into one of the pad's boxes: (98, 98)."""
    return render(place(strokes, rng), (BOX, BOX), brush)


def varied(strokes: Sequence[PenStroke], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The ink of a digit as another hand, on another day, might have written it into a box."""
    points = np.vstack(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    height = max(float(high[1] - low[1]), 0.5 * float(high[0] - low[0]), 1e-3)
    middle = (low + high) / 2
    unit = [(stroke - middle) / height for stroke in strokes]
    unit = [_thinned(_trimmed(stroke, rng), rng) for stroke in unit]
    bend = _affine(rng)
    tremor = abs(rng.normal(0, 0.012)) if rng.random() < 0.7 else 0.0
    warp = _warp(rng, abs(rng.normal(0, 0.035)))
    changed = []
    for stroke in unit:
        moved = stroke @ bend.T
        moved = moved + warp(moved) + rng.normal(0, 0.015, 2)
        if tremor and len(moved) > 2:
            moved = moved + _slow_noise(len(moved), tremor, rng)
        changed.append(moved)
    placed = place(changed, rng, 0.3, 0.92)
    if rng.random() < 0.04:  # over the edge of its box
        placed = [stroke + rng.uniform(-8, 8, 2) for stroke in placed]
    tall = np.ptp(np.vstack(placed), axis=0).max()
    brush = int(min(rng.integers(1, 13), max(2, 0.1 * tall)))
    if rng.random() < 0.06:  # as the course's program draws: dots, not joined
        placed = [point[None] for stroke in placed for point in stroke]
    return render(placed, (BOX, BOX), brush)


def _affine(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = np.deg2rad(rng.normal(0, 7))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    slant = np.array([[1.0, rng.normal(0, 0.18)], [0.0, 1.0]])
    return np.asarray(turn @ slant @ np.diag([np.exp(rng.normal(0, 0.2)), 1.0]))


class _warp:
    """A smooth displacement of the plane: a few random waves, so that parts grow, shrink and lean."""

    def __init__(self, rng: np.random.Generator, amount: float) -> None:
        self._amplitude = rng.normal(0, amount, (3, 2))
        self._wave = rng.normal(0, 3.5, (2, 3))
        self._phase = rng.uniform(0, 2 * np.pi, 3)

    def __call__(self, points: PenStroke) -> PenStroke:
        return np.asarray(np.sin(points @ self._wave + self._phase) @ self._amplitude)


def _trimmed(stroke: PenStroke, rng: np.random.Generator) -> PenStroke:
    """The stroke without a little of its ends: a pen that set down late or lifted early."""
    count = len(stroke)
    if count < 8 or rng.random() < 0.5:
        return stroke
    start, end = (rng.uniform(0, 0.07, 2) * count).astype(int)
    return stroke[start : count - end]


def _thinned(stroke: PenStroke, rng: np.random.Generator) -> PenStroke:
    """Fewer points: a slow computer or a fast hand."""
    every = int(rng.choice((1, 1, 1, 2, 3, 4)))
    if every == 1 or len(stroke) < 3 * every:
        return stroke
    return np.vstack([stroke[:-1:every], stroke[-1:]])


def _slow_noise(count: int, amount: float, rng: np.random.Generator) -> PenStroke:
    knots = max(3, count // 6)
    at = np.linspace(0, knots - 1, count)
    noise = rng.normal(0, amount, (2, knots))
    return np.column_stack([np.interp(at, np.arange(knots), axis) for axis in noise])
