"""Styles of writing that the collections hold seldom: parts that some schools add to a digit.

restyled(strokes, 0, rng)   # now and then with a slash through it, or a dot in it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tools.train.data.datasets import PenStroke

Strokes = list[PenStroke]

_ONE_STROKE_RATIO = 0.45
"""A one is a bare line where it is narrower than this part of its height."""


def restyled(strokes: Sequence[PenStroke], label: int, rng: np.random.Generator) -> Strokes:
    """The digit's strokes, and now and then a part that another school would add; the writer's own units.

    Only a digit of one stroke is changed: one of several may have the part already.
    """
    kept = [np.asarray(stroke, np.float64) for stroke in strokes]
    if len(kept) != 1 or len(kept[0]) < 3:
        return kept
    chance = rng.random()
    for share, digit, change in _STYLES:
        if digit != label:
            continue
        if chance < share:
            return change(kept, rng)
        chance -= share
    return kept


def _box(strokes: Strokes) -> tuple[PenStroke, PenStroke]:
    """The upper left corner and the size (width, height) of what is written; no size is 0."""
    points = np.vstack(strokes)
    low = points.min(axis=0)
    return low, np.maximum(points.max(axis=0) - low, 1e-3)


def _line(start: PenStroke, end: PenStroke, rng: np.random.Generator) -> PenStroke:
    """A stroke of 12 points from `start` to `end`, a little bent."""
    along = np.linspace(0, 1, 12)[:, None]
    across = (end - start)[::-1] * (1, -1) * rng.normal(0, 0.05)
    return np.asarray(start + along * (end - start) + np.sin(np.pi * along) * across)


def _slashed(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    low, size = _box(strokes)
    beyond = rng.uniform(-0.2, 0.3, 2)
    start = low + size * (1 + beyond[0], -beyond[0] + rng.uniform(-0.05, 0.15))
    end = low + size * (-beyond[1], 1 + beyond[1] - rng.uniform(-0.05, 0.15))
    if rng.random() < 0.12:  # a backslash
        start, end = start * (0, 1) + end * (1, 0), end * (0, 1) + start * (1, 0)
    return [*strokes, _line(start, end, rng)]


def _dotted(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    low, size = _box(strokes)
    return [*strokes, (low + size * rng.uniform(0.4, 0.6, 2))[None]]


def _barred(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    low, size = _box(strokes)
    middle = low + size * (rng.uniform(0.35, 0.65), rng.uniform(0.42, 0.62))
    half = np.array([size[1] * rng.uniform(0.15, 0.32), size[1] * rng.uniform(-0.08, 0.04)])
    return [*strokes, _line(middle - half, middle + half, rng)]


def _footed(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    _, size = _box(strokes)
    foot = strokes[0][np.argmax(strokes[0][:, 1])]
    half = np.array([size[1] * rng.uniform(0.15, 0.35), size[1] * rng.uniform(-0.04, 0.04)])
    side = half * (rng.uniform(-0.3, 0.3), 0)
    drawn = [*strokes, _line(foot + side - half, foot + side + half, rng)]
    return _flagged(drawn, rng) if rng.random() < 0.5 and size[0] < _ONE_STROKE_RATIO * size[1] else drawn


def _flagged(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    _, size = _box(strokes[:1])
    if size[0] > _ONE_STROKE_RATIO * size[1]:  # it has one, or leans too far to tell
        return strokes
    top = strokes[0][np.argmin(strokes[0][:, 1])]
    tip = top + size[1] * np.array([-rng.uniform(0.12, 0.35), rng.uniform(0.08, 0.3)])
    return [_line(tip, top, rng), *strokes]


def _hooked_foot(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """A one whose pen turns upwards at its lower end."""
    _, size = _box(strokes)
    if size[0] > _ONE_STROKE_RATIO * size[1]:
        return strokes
    downwards = strokes[0] if strokes[0][0, 1] <= strokes[0][-1, 1] else strokes[0][::-1]
    end = downwards[-1]
    tip = end + size[1] * np.array([rng.uniform(0.06, 0.2), -rng.uniform(0.04, 0.2)])
    return [np.vstack([downwards, _line(end, tip, rng)])]


_STYLES: tuple[tuple[float, int, Callable[[Strokes, np.random.Generator], Strokes]], ...] = (
    (0.16, 0, _slashed),
    (0.03, 0, _dotted),
    (0.15, 7, _barred),
    (0.05, 7, _footed),
    (0.10, 1, _footed),
    (0.12, 1, _flagged),
    (0.08, 1, _hooked_foot),
)
"""(share of its digits that get it, digit, what is done)."""
