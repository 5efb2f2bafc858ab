"""Connected ink: pieces that could be a digit or a part of one.

A piece too large or too wide for a digit is looked at again: with rising thresholds, so that a pale ruled
line or a shadow no longer ties digits together, and without long straight lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.recognizer.lines import erase_lines

Pixels = NDArray[np.uint8]
Contour = NDArray[np.integer[Any] | np.floating[Any]]

_MOST = 320
"""Components a picture: a texture has thousands of crumbs, and only the larger ones are worth the time."""
_MOST_AGAIN = 14
"""Pieces a picture that are looked at again."""


@dataclass(frozen=True)
class Limits:
    """What a piece may be, in pixels."""

    shape: tuple[int, int]
    """Height and width of the picture."""
    smallest: int
    """Least height of a digit."""
    largest: float
    """Greatest height of a digit."""
    border: int
    """Ink nearer than this to the picture's edge touches it."""
    keep_touching: bool
    """Whether such ink is looked at again, without lines, or left out as cut off."""
    widest: float
    """Width over height of several digits that touch."""
    again: int
    """Pixels a picture that may be looked at again, counted once for each look."""
    levels: int
    """Rising thresholds tried there, at most."""
    rise: float
    """From one to the next; more where fewer are tried."""


@dataclass(frozen=True, eq=False)
class InkPart:
    """One component as its outline and those of its holes; (x, y) is where their coordinates start."""

    outlines: tuple[Contour, ...]
    x: int
    y: int


@dataclass(frozen=True, eq=False)
class Piece:
    """One component, or several that belong together; its box in picture pixels."""

    x: int
    y: int
    w: int
    h: int
    parts: tuple[InkPart, ...]

    def join(self, other: Piece) -> Piece:
        """Both as one."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right, bottom = max(self.x + self.w, other.x + other.w), max(self.y + self.h, other.y + other.h)
        return Piece(x, y, right - x, bottom - y, self.parts + other.parts)

    def mask(self, x: int, y: int, w: int, h: int) -> Pixels:
        """(h, w): 255 where this piece's ink is, 0 elsewhere, in the window at (x, y)."""
        drawn = np.zeros((h, w), np.uint8)
        for part in self.parts:
            # Outline and holes in one call: what an even number of them enclose stays empty.
            cv2.fillPoly(drawn, part.outlines, (255,), cv2.LINE_8, 0, (part.x - x, part.y - y))
        return drawn

    def erase(self, picture: Pixels, x: int, y: int) -> None:
        """Blacken this piece in a picture whose upper left corner lies at (x, y)."""
        for part in self.parts:
            cv2.fillPoly(picture, part.outlines[:1], (0,), cv2.LINE_8, 0, (part.x - x, part.y - y))


def pieces_of(relief: Pixels, faint: float, limits: Limits) -> list[Piece]:
    """The pieces of ink in `relief` (contrast, 0 to 255) above `faint` that could be digits."""
    mask = np.asarray(cv2.threshold(relief, faint, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8)
    found, large = _components(mask, limits, (0, 0), rows=True)
    budget = limits.again
    for piece in sorted(large, key=lambda piece: piece.w * piece.h)[:_MOST_AGAIN]:
        levels = min(limits.levels, budget // (piece.w * piece.h))
        if not levels:
            break
        budget -= levels * piece.w * piece.h
        own = piece.mask(piece.x, piece.y, piece.w, piece.h)
        window = relief[piece.y : piece.y + piece.h, piece.x : piece.x + piece.w]
        ink = np.asarray(cv2.bitwise_and(window, own), dtype=np.uint8)
        found += _again(ink, faint, levels, (piece.x, piece.y), limits)
    return found


def _again(own: Pixels, faint: float, levels: int, origin: tuple[int, int], limits: Limits) -> list[Piece]:
    """What a piece falls into as the threshold rises, and what is left of it without its lines.

    Both are answers to the same ink; which of two that overlap is the digit is for others to say.
    """
    found: list[Piece] = []
    rest = own
    level = faint
    top = 0.6 * float(own.max())
    first: list[Piece] = []
    for step in range(levels):
        level *= limits.rise ** (limits.levels / levels)
        if level > top:
            break
        _, bold = cv2.threshold(rest, level, 255, cv2.THRESH_BINARY)
        small, large = _components(np.asarray(bold, dtype=np.uint8), limits, origin)
        found += small
        if not step:
            first = [
                piece for piece in large if limits.keep_touching or max(piece.w, piece.h) > limits.largest
            ]
        if not large:
            break
        rest = rest.copy()
        for piece in small:
            piece.erase(rest, *origin)
    for piece in first:
        bare = erase_lines(piece.mask(piece.x, piece.y, piece.w, piece.h))
        found += _components(bare, limits, (piece.x, piece.y), rows=True)[0]
    return found


def _components(
    mask: Pixels, limits: Limits, origin: tuple[int, int], *, rows: bool = False
) -> tuple[list[Piece], list[Piece]]:
    """The components that may be digits or parts of them, and those to look at again; a wide one may be both.

    With `rows`, those that may be several digits which touch are among the first.

    Outlines rather than labels: on a picture that is mostly paper they are found in a quarter of the time.
    """
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return [], []
    family = np.asarray(tree)[0]
    outer = [number for number in np.flatnonzero(family[:, 3] < 0).tolist() if len(contours[number]) >= 4]
    if len(outer) > _MOST:
        outer = sorted(outer, key=lambda number: -len(contours[number]))[:_MOST]
    height, width = limits.shape
    edge, smallest = limits.border, limits.smallest
    crumb = max(3, smallest // 3)
    small, large = [], []
    for number in outer:
        x, y, w, h = cv2.boundingRect(contours[number])
        x, y = x + origin[0], y + origin[1]
        if max(w, h) < crumb:
            continue
        sized = max(w, h) <= limits.largest
        fits = sized and (w <= 1.3 * h or h < smallest)
        whole = x >= edge and y >= edge and x + w <= width - edge and y + h <= height - edge
        row = rows and h < w <= limits.widest * h and smallest <= h <= limits.largest / 2  # digits that touch
        single = sized and (w <= 1.6 * h or h < smallest)
        if (single or row) and (whole or limits.keep_touching):
            small.append(_piece(contours, family, number, (x, y, w, h), origin))
        # What touches the picture's edge was cut off by it, but may be tied to what was not.
        tied = limits.keep_touching or min(w, h) >= 2 * smallest
        if (not fits or (not whole and tied)) and min(w, h) >= crumb and max(w, h) >= smallest:
            large.append(_piece(contours, family, number, (x, y, w, h), origin))
    return small, large


def side_by_side(mask: Pixels, origin: tuple[int, int]) -> list[Piece]:
    """The tall parts of a mask that stand beside one another: digits that only paler ink tied together."""
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    family = np.asarray(tree)[0]
    boxes = [(cv2.boundingRect(contours[each]), each) for each in np.flatnonzero(family[:, 3] < 0).tolist()]
    tall = max(h for (_, _, _, h), _ in boxes)
    parts = sorted((box, number) for box, number in boxes if box[3] >= 0.6 * tall)
    if any(after[0] < before[0] + 0.8 * before[2] for (before, _), (after, _) in pairwise(parts)):
        return []  # one above the other, or across it: strokes of one digit
    return [
        _piece(contours, family, number, (x + origin[0], y + origin[1], w, h), origin)
        for (x, y, w, h), number in parts
    ]


def _piece(
    contours: Sequence[Contour],
    family: NDArray[np.int32],
    number: int,
    box: tuple[int, int, int, int],
    origin: tuple[int, int],
) -> Piece:
    outlines = [contours[number]]
    hole = int(family[number, 2])
    while hole >= 0:
        outlines.append(contours[hole])
        hole = int(family[hole, 0])
    return Piece(*box, (InkPart(tuple(outlines), *origin),))


def joined(pieces: list[Piece], limits: Limits) -> list[Piece]:
    """Small pieces joined to the digit they nearly touch: the bar of a five, the rest of a broken stroke.

    What touches the picture's edge is not: it is the rest of a line. What stays too low is left out.
    """
    height, width = limits.shape
    smallest, edge = limits.smallest, limits.border
    ordered = sorted(pieces, key=lambda piece: -max(piece.w, piece.h))[:_MOST]
    if not ordered:
        return []
    boxes = np.array([(piece.x, piece.y, piece.w, piece.h) for piece in ordered])
    x, y, w, h = boxes.T
    bodies = np.flatnonzero(h >= smallest)
    gap = _gap_within_a_digit(boxes, bodies)
    gap[(x < edge) | (y < edge) | (x + w > width - edge) | (y + h > height - edge)] = np.inf
    whole: list[Piece | None] = list(ordered)
    home = list(range(len(ordered)))
    for number in np.flatnonzero(np.isfinite(gap).any(axis=1)).tolist():
        body = int(bodies[np.argmin(gap[number])])
        target = whole[home[body]]
        if target is not None:
            home[number] = home[body]
            whole[home[body]] = together = target.join(ordered[number])
            if ordered[number].h < 0.4 * together.h:
                whole[number] = None  # else it may as well be a digit of its own
    return [piece for piece in whole if piece is not None and piece.h >= smallest]


def _gap_within_a_digit(boxes: NDArray[np.int64], bodies: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, bodies): how far piece i is from a larger piece, infinity where both can't be one digit.

    `bodies` are the indices of what is tall enough to be a digit itself.
    """
    own_x, own_y, own_w, own_h = boxes.T[:, :, None]
    x, y, w, h = boxes[bodies].T
    left, top = np.minimum(own_x, x), np.minimum(own_y, y)
    right, bottom = np.maximum(own_x + own_w, x + w), np.maximum(own_y + own_h, y + h)
    wide, tall = right - left, bottom - top
    shared = own_w + w - wide  # of both along x; a gap where below 0
    gap = np.maximum(-shared, tall - own_h - h)
    possible = (
        (bodies < np.arange(len(boxes))[:, None])  # the larger ones come first
        & (gap <= 0.16 * h + 2)
        & ~((own_h > 0.6 * tall) & (own_w < 2 * own_h))  # two of one height are neighbours
        & (wide <= 1.15 * tall)
        & (tall <= 1.6 * h)
        & (shared >= 0.45 * np.minimum(own_w, w))
    )
    return np.where(possible, gap.astype(np.float64), np.inf)
