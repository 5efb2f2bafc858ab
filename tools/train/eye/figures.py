"""Figures that are no digits, drawn with a pen: arrows, boxes, ticks, stars, faces, scribbles, lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from tools.train.eye.canvas import Array, Random, log_uniform

Paths = Sequence[Array]
"""Lines through points (n, 2), the figure about 2 units large around the origin."""


def figure(rng: Random, side: int) -> Array:
    """Coverage (side, side) uint8 of one figure, anywhere."""
    canvas: Array = np.zeros((side, side), np.uint8)
    size = log_uniform(rng, 14, 0.9 * side)
    thick = max(1, round(size * log_uniform(rng, 0.015, 0.12)))
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    angle = rng.uniform(0, 6.3) if kind in _TURNED else rng.normal(0, 0.1)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    origin = rng.uniform(-0.1, 1.1, 2) * side
    filled = kind in (_polygon, _ring) and rng.random() < 0.25
    for path in kind(rng):
        corners = np.rint((np.asarray(path) @ turn * size / 2 + origin) * 16).astype(np.int32)
        if filled:
            cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, 4)
        else:
            cv2.polylines(canvas, [corners], False, 255, thick, cv2.LINE_AA, 4)
    return canvas


def _arrow(rng: Random) -> Paths:
    head = rng.uniform(0.15, 0.45)
    tip = np.array([[1 - head, -head], [1, 0], [1 - head, head]])
    return [np.array([[-1, 0], [1, 0]]), tip, *([-tip] if rng.random() < 0.2 else [])]


def _box(rng: Random) -> Paths:
    tall = rng.uniform(0.3, 1)
    corners = np.array([[-1, -tall], [1, -tall], [1, tall], [-1, tall], [-1, -tall]])
    inner = corners * rng.uniform(0.6, 0.9)
    return [corners, inner] if rng.random() < 0.3 else [corners]


def _polygon(rng: Random) -> Paths:
    corners = rng.uniform(-1, 1, (int(rng.integers(3, 6)), 2))
    return [np.concatenate([corners, corners[:1]])]


def _tick(rng: Random) -> Paths:
    return [np.array([[-0.6, 0], [-0.2, 0.5], [0.8, -0.9]]) + rng.normal(0, 0.06, (3, 2))]


def _cross(rng: Random) -> Paths:
    line = np.array([[-0.7, -0.7], [0.7, 0.7]])
    return [line + rng.normal(0, 0.08, (2, 2)), line * [1, -1] + rng.normal(0, 0.08, (2, 2))]


def _star(rng: Random) -> Paths:
    points = int(rng.choice([5, 6, 7, 8]))
    angles = np.arange(2 * points + 1) * np.pi / points
    radius = np.where(np.arange(2 * points + 1) % 2, rng.uniform(0.3, 0.6), 1.0)
    return [np.column_stack([np.cos(angles), np.sin(angles)]) * radius[:, None]]


def _smile(rng: Random) -> Paths:
    eye = _circle() * 0.1
    mouth = _circle()[4:17] * [0.55, rng.uniform(-0.5, 0.55)]
    return [_circle(), *(eye + np.array([x, -0.3]) for x in (-0.35, 0.35)), mouth]


def _ring(rng: Random) -> Paths:
    return [_circle() * radius for radius in (1, rng.uniform(0.3, 0.85), rng.uniform(0.1, 0.3))]


def _scribble(rng: Random) -> Paths:
    count = int(rng.integers(9, 28))
    points = np.column_stack([np.linspace(-1.6, 1.6, count), np.zeros(count)]) + rng.normal(
        0, 0.35, (count, 2)
    )
    return [_smooth(points)]


def _wave(rng: Random) -> Paths:
    x = np.linspace(-1.6, 1.6, 60)
    return [np.column_stack([x, 0.25 * np.sin(x * rng.uniform(6, 20))])]


def _line(rng: Random) -> Paths:
    lines = np.array([[-40.0, 0], [40, 0]])
    return [lines + np.array([0, offset]) for offset in rng.uniform(-1, 1, int(rng.integers(1, 4)))]


def _dots(rng: Random) -> Paths:
    return [
        centre + _circle() * rng.uniform(0.02, 0.08)
        for centre in rng.uniform(-1, 1, (int(rng.integers(2, 12)), 2))
    ]


def _hatch(rng: Random) -> Paths:
    count = int(rng.integers(4, 12))
    return [np.array([[-1, y], [1, y + rng.normal(0, 0.05)]]) for y in np.linspace(-0.8, 0.8, count)]


def _curve(rng: Random) -> Paths:
    return [_smooth(rng.uniform(-1, 1, (int(rng.integers(3, 6)), 2)) * 6)]


def _keys(rng: Random) -> Paths:
    """Keycaps without legends, as of a keyboard."""
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(3, 8))
    cap = _circle(4, np.pi / 4) * 0.16
    places = [(0.28 * j - 1 + 0.07 * i, 0.28 * i - 0.4) for i in range(rows) for j in range(columns)]
    return [cap + np.array(place) for place in places]


def _branches(rng: Random) -> Paths:
    stem = _smooth(np.cumsum(rng.normal([0.35, 0], 0.2, (8, 2)), 0) - [1.4, 0])
    twigs = [stem[k] + np.array([[0, 0], rng.normal(0, 0.4, 2)]) for k in rng.integers(0, len(stem), 7)]
    return [stem, *twigs]


def _circle(corners: int = 24, begin: float = 0.0) -> Array:
    angles = np.linspace(0, 2 * np.pi, corners + 1) + begin
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _smooth(points: Array) -> Array:
    for _ in range(3):
        points = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1)
        points = points.reshape(-1, 2)
    return points


_KINDS: tuple[Callable[[Random], Paths], ...] = (
    _arrow, _arrow, _box, _polygon, _tick, _cross, _star, _smile, _ring, _scribble, _scribble, _wave, _line,
    _line, _dots, _hatch, _curve, _keys, _branches,
)  # fmt: skip
_TURNED = {_arrow, _polygon, _star, _wave, _line, _hatch, _curve, _branches}
"""Figures that are drawn at any angle."""
