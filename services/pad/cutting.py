"""Erases one box: strokes are cut where they would leave ink in the box's column of the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from messages.pad import BOXES, inside

Point = tuple[float, float]

FINE = 16
"""Points are kept to a sixteenth of a pixel, as they are drawn."""


def column(index: int, brush: int) -> tuple[float, float]:
    """Between which x, both excluded, no point of a stroke may stay for box `index` to be empty.

    The first box's column reaches to the left edge, the last one's to the right.
    """
    within = inside(index)
    reach = brush + 1  # of ink from its point, at the most
    left = -math.inf if index == 0 else float(within.x - 1 - reach)
    right = math.inf if index == BOXES - 1 else float(within.x + within.width + reach)
    return left, right


def cut(points: Sequence[Point], left: float, right: float) -> list[list[Point]] | None:
    """What remains of a stroke when all between `left` and `right` goes; None where nothing of it goes."""
    if all(x <= left or x >= right for x, _ in points) and not _crosses(points, left, right):
        return None
    pieces: list[list[Point]] = []
    piece: list[Point] = []
    edges = {-1: left, 1: right}
    before, side_before = points[0], 0
    for point in points:
        side = _side(point, left, right)
        if side != side_before and point is not points[0]:
            if side_before:  # it leaves its side: end it at the edge
                pieces.append([*piece, _at(before, point, edges[side_before])])
            piece = [_at(before, point, edges[side])] if side else []
        if side:
            piece.append(point)
        before, side_before = point, side
    if piece:
        pieces.append(piece)
    return pieces


def _side(point: Point, left: float, right: float) -> int:
    """-1 to the left of the column, 1 to its right, 0 in it."""
    if point[0] <= left:
        return -1
    return 1 if point[0] >= right else 0


def _crosses(points: Sequence[Point], left: float, right: float) -> bool:
    return any(_side(one, left, right) != _side(other, left, right) for one, other in pairwise(points))


def _at(one: Point, other: Point, x: float) -> Point:
    """Where the way from one point to the other passes `x`."""
    share = (x - one[0]) / (other[0] - one[0])
    return x, round((one[1] + share * (other[1] - one[1])) * FINE) / FINE
