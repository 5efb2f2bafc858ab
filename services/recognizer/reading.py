"""From digits to codes: what stands in one line is read as one.

A digit's right neighbour is the nearest one of about its height, within a tilt of 25 degrees; two are joined
where each is the other's nearest. A gap far wider than the line's others parts two codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.geometry import BoundingBox, around

UNREADABLE = "?"
"""The label of a digit that is not sure enough."""
_SLOPE = math.tan(math.radians(25))


@dataclass(frozen=True)
class ReadDigit:
    """One digit: its label (0 to 9, or `?`), how sure that is, and what it would have been otherwise."""

    label: str
    confidence: float
    runner_up: str
    runner_up_confidence: float
    box: BoundingBox


@dataclass(frozen=True)
class Line:
    """Digits in reading order."""

    digits: tuple[ReadDigit, ...]

    @property
    def text(self) -> str:
        """The labels in a row, such as `06234` or `06?34`."""
        return "".join(digit.label for digit in self.digits)

    @property
    def confidence(self) -> float:
        """The chance that every digit is right: the product of theirs, as if they erred independently."""
        return math.prod(digit.confidence for digit in self.digits)

    @property
    def box(self) -> BoundingBox:
        """The smallest box around all digits."""
        return around([digit.box for digit in self.digits])


@dataclass(frozen=True)
class GroupSettings:
    """When two digits stand in one line; distances in units of the taller one's height."""

    widest_gap: float = 4.0
    """Between two digits of one line."""
    widest_pair: float = 2.2
    """Between two digits that make up a line by themselves."""
    unlike_height: float = 2.6
    """The taller over the smaller of two neighbours, at most."""
    outlier_gap: float = 2.6
    """A gap this many times the line's median gap parts it, where it is also wider than one height."""


def lines_of(boxes: Sequence[BoundingBox], settings: GroupSettings | None = None) -> list[list[int]]:
    """Which boxes stand in one line: their indices from left to right, lines from top to bottom."""
    if not boxes:
        return []
    settings = settings or GroupSettings()
    distance = _distances(np.array(boxes, dtype=np.float64), settings)
    right = np.where(np.isfinite(distance.min(axis=1)), distance.argmin(axis=1), -1).tolist()
    left = np.where(np.isfinite(distance.min(axis=0)), distance.argmin(axis=0), -1).tolist()
    chains = []
    for start in range(len(boxes)):
        if left[start] >= 0 and right[left[start]] == start:
            continue
        chain = [start]
        while right[chain[-1]] >= 0 and left[right[chain[-1]]] == chain[-1]:
            chain.append(right[chain[-1]])
        chains += _parted(chain, boxes, settings)
    return _top_to_bottom(chains, boxes)


def _distances(boxes: NDArray[np.float64], settings: GroupSettings) -> NDArray[np.float64]:
    """(n, n): how far box j stands to the right of box i, infinity where it is no neighbour."""
    x, y, w, h = boxes.T
    tall, small = np.maximum(h[:, None], h), np.minimum(h[:, None], h)
    gap = x - (x + w)[:, None]
    across = (x + w / 2) - (x + w / 2)[:, None]
    down = np.abs((y + h / 2) - (y + h / 2)[:, None])
    overlap = 0.6 * np.minimum(np.minimum(w[:, None], w), tall / 2)
    neighbours = (
        (tall <= settings.unlike_height * small)
        & (gap <= settings.widest_gap * tall)
        & (gap >= -overlap)
        & (across > 0)
        & (down <= 0.35 * tall + _SLOPE * across)
    )
    return np.where(neighbours, across + 1.5 * down, np.inf)


def _parted(chain: list[int], boxes: Sequence[BoundingBox], settings: GroupSettings) -> list[list[int]]:
    gaps = [boxes[b][0] - boxes[a][0] - boxes[a][2] for a, b in pairwise(chain)]
    if len(gaps) == 1 and gaps[0] > settings.widest_pair * max(boxes[index][3] for index in chain):
        return [[index] for index in chain]
    if len(gaps) < 2:
        return [chain]
    usual = max(sorted(gaps)[(len(gaps) - 1) // 2], 1)
    parts = [[chain[0]]]
    for gap, (before, index) in zip(gaps, pairwise(chain), strict=True):
        height = max(boxes[before][3], boxes[index][3])
        if gap > settings.outlier_gap * usual and gap > height:
            parts.append([])
        parts[-1].append(index)
    return parts


def _top_to_bottom(chains: list[list[int]], boxes: Sequence[BoundingBox]) -> list[list[int]]:
    placed = [(around([boxes[index] for index in chain]), chain) for chain in chains]
    placed.sort(key=lambda item: item[0][1] + item[0][3] / 2)
    rows: list[list[tuple[BoundingBox, list[int]]]] = []
    for box, chain in placed:
        if rows:
            _, y, _, h = around([item[0] for item in rows[-1]])
            shared = min(y + h, box[1] + box[3]) - max(y, box[1])
            if shared > 0.5 * min(h, box[3]):
                rows[-1].append((box, chain))
                continue
        rows.append([(box, chain)])
    return [chain for row in rows for _, chain in sorted(row, key=lambda item: item[0][0])]
