"""Tiles: parts of a picture that the eye looks at in place of the whole.

They stand on the network's own grid, so that a tile shows it what the whole picture does, and have few sizes:
an interpreter is kept for each.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.eye.network import CELL, MULTIPLE
from models.geometry import BoundingBox, around, intersection

_SIDE = 4 * MULTIPLE
"""Sides of a tile are multiples of this, in pixels, where it isn't as long as the picture."""


def tiles(boxes: Iterable[BoundingBox], shape: tuple[int, int]) -> list[BoundingBox]:
    """Tiles of a picture (h, w) around `boxes`; none shares a pixel with another."""
    found: list[BoundingBox] = []
    for box in boxes:
        tile = _rounded(box, shape)
        while shared := [other for other in found if intersection(tile, other)]:
            found = [other for other in found if other not in shared]
            tile = _rounded(around([tile, *shared]), shape)
        found.append(tile)
    return found


def is_cut(box: BoundingBox, tile: BoundingBox, shape: tuple[int, int]) -> bool:
    """Whether what is seen in this box of the picture (h, w) may go on beyond the tile."""
    return any(
        (start > 0 and first < start + CELL)
        or (start + side < limit and first + length > start + side - CELL)
        for start, side, first, length, limit in zip(
            tile[:2], tile[2:], box[:2], box[2:], shape[::-1], strict=True
        )
    )


def _rounded(box: BoundingBox, shape: tuple[int, int]) -> BoundingBox:
    (x, width), (y, height) = (
        _span(first, length, limit)
        for first, length, limit in zip(box[:2], box[2:], shape[::-1], strict=True)
    )
    return x, y, width, height


def _span(first: int, length: int, limit: int) -> tuple[int, int]:
    """Where a tile's side begins and how long it is, around a box's; the picture ends at `limit`."""
    last = min(first + length, limit)
    start = min(max(first, 0), limit - 1) // MULTIPLE * MULTIPLE
    side = min(-(-(last - start) // _SIDE) * _SIDE, limit)
    return min(start, limit - side), side
