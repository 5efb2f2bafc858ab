"""A stroke on the canvas, and how many bytes it takes as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from pydantic_core import to_json

from messages.pad import HEIGHT, WIDTH, PadStroke
from services.pad.cutting import FINE, Point

_STROKE_BYTES = 150  # as JSON, besides its texts and points


@dataclass(eq=False)
class Stroke:
    """`root` is the stroke it was cut from, or itself; `weight` its bytes as JSON, or a few more."""

    id: str
    author: str
    brush: int
    began: datetime
    points: list[Point]
    finished: bool = True
    root: str = ""
    touched: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.root = self.root or self.id
        self.weight = _STROKE_BYTES + len(self.id) + 6 * len(self.author) + weight(self.points)

    def message(self) -> PadStroke:
        return PadStroke(
            id=self.id,
            author=self.author,
            brush=self.brush,
            began=self.began,
            points=tuple(self.points),
            finished=self.finished,
        )


def weight(points: Sequence[Point]) -> int:
    """Bytes that points take as JSON."""
    return len(to_json(points))


def fine(points: Sequence[Point]) -> list[Point]:
    """The points on the sixteenths of a pixel, to which strokes are drawn, none twice in a row."""
    if not points:
        return []
    sixteenths = np.rint(np.asarray(points, np.float64) * FINE).astype(np.int64)
    np.minimum(sixteenths, (WIDTH * FINE - 1, HEIGHT * FINE - 1), out=sixteenths)
    moved = np.ones(len(points), bool)
    moved[1:] = (np.diff(sixteenths, axis=0) != 0).any(axis=1)
    return [(x, y) for x, y in (sixteenths[moved] / FINE).tolist()]
