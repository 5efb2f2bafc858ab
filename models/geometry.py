"""Boxes in a picture: (x, y, width, height) in pixels, y downwards."""

from __future__ import annotations

from collections.abc import Sequence

BoundingBox = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


def around(boxes: Sequence[BoundingBox]) -> BoundingBox:
    """The smallest box that holds all `boxes`, of which there is at least one."""
    x, y = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return x, y, right - x, bottom - y


def intersection(first: BoundingBox, second: BoundingBox) -> int:
    """The area that two boxes share, in square pixels."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def intersection_over_union(first: BoundingBox, second: BoundingBox) -> float:
    """The shared area as a part of the area of both together, 0 to 1."""
    shared = intersection(first, second)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared) if shared else 0.0


def intersection_over_smaller(first: BoundingBox, second: BoundingBox) -> float:
    """The shared area as a part of the smaller box, 0 to 1."""
    shared = intersection(first, second)
    return shared / min(first[2] * first[3], second[2] * second[3]) if shared else 0.0
