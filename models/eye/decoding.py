"""From the eye's maps to digits: peaks are digits, and each ink pixel votes for the peak that it points to.

This is the centre-and-offset decoding of Papandreou et al. (2018, "PersonLab") and Cheng et al. (2020,
"Panoptic-DeepLab"), with the distance between a vote and a peak in units of the digit's size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from models.eye.network import CELL, Maps
from models.geometry import BoundingBox

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

UNIT = 32.0
"""Pixels that offsets and sizes are told in."""
_SMALLEST, _LARGEST = 6.0, 800.0
"""Size of a digit, in pixels."""
_MOST = 96
"""Digits a picture."""
_CENTRE = 0.08
"""How likely a peak must be to be looked into."""
_INK = 0.35
"""How likely a pixel must be ink to vote."""
_REACH = 0.4
"""How far a vote may miss its centre, in sizes of the digit."""
_APART = 0.31
"""How far two centres are apart at least, in sizes of the larger digit."""
_WEAK, _APART_WEAK = 0.8, 0.45
"""A peak so many times less likely than another is weak; it is at least so far from that one, in sizes."""
_LEAST_VOTES = 6
_NEXT = np.ones((3, 3), np.uint8)
_AROUND = np.mgrid[-1:2, -1:2].reshape(2, -1)
"""From a cell to itself and its eight neighbours: rows, columns."""


@dataclass(frozen=True, eq=False)
class SeenDigit:
    """A digit that the eye sees."""

    box: BoundingBox
    """Around its ink, in pixels of the picture."""
    score: float
    """How sure the eye is, 0 to 1: its centre's likelihood times the mean of its ink's."""
    ink: Pixels = field(repr=False)
    """(h, w): its own ink alone, bright on black; ready for `normalise`."""


def decode(grey: Pixels, maps: Maps) -> list[SeenDigit]:
    """The digits in a grey picture (h, w) of which the network says `maps`."""
    centres, sizes, likely = _peaks(maps)
    if not len(centres):
        return []
    ink = _sub_pixels(maps.ink)
    places = np.flatnonzero(ink > _INK)
    owners = _owners(places, maps, centres, sizes)
    named = np.full(ink.shape, -1, np.int16)
    named.ravel()[places] = owners
    order = np.argsort(owners, kind="stable")  # each digit's pixels together, row by row
    places, starts = (
        places[order],
        np.searchsorted(owners[order], np.arange(len(centres) + 1, dtype=np.int16)),
    )
    rows, columns = np.divmod(np.append(places, 0), ink.shape[1])  # 0 is beyond the last digit
    lefts, rights = np.minimum.reduceat(columns, starts), np.maximum.reduceat(columns, starts) + 1
    scores = likely * np.add.reduceat(ink[rows, columns], starts)[:-1] / np.maximum(np.diff(starts), 1)
    found = []
    for number in np.flatnonzero(np.diff(starts) >= _LEAST_VOTES).tolist():
        left, right = int(lefts[number]), int(rights[number])
        top, bottom = int(rows[starts[number]]), int(rows[starts[number + 1] - 1]) + 1
        own = own_ink(grey, ink, named, number, (left, top, right - left, bottom - top))
        if own is not None:
            box = (2 * left, 2 * top, 2 * (right - left), 2 * (bottom - top))
            found.append(SeenDigit(box, float(scores[number]), own))
    return found


def _peaks(maps: Maps) -> tuple[Floats, Floats, Floats]:
    """Where digits have their centres, x and y (n, 2) in pixels, how large they are and how likely."""
    height, width = maps.centre.shape
    centre = maps.centre.ravel()
    places = np.flatnonzero(centre >= _CENTRE)
    places = places[centre[places] == cv2.dilate(maps.centre, _NEXT).ravel()[places]]
    places = places[np.argsort(-centre[places], kind="stable")[:_MOST]]
    likely = centre[places]
    ys, xs = np.divmod(places, width)
    points = np.stack([xs, ys], axis=1).astype(np.float32) * CELL + (CELL - 1) / 2
    near_y = np.minimum(np.maximum(ys[:, None] + _AROUND[0], 0), height - 1)
    near_x = np.minimum(np.maximum(xs[:, None] + _AROUND[1], 0), width - 1)
    median = np.sort(maps.offset[near_y, near_x, 2], axis=1)[:, len(_AROUND[0]) // 2]
    sizes = np.clip(UNIT * 2.0**median, _SMALLEST, _LARGEST).astype(np.float32)
    apart = np.linalg.norm(points[:, None] - points, axis=2) / np.maximum(sizes[:, None], sizes)
    weak = likely[:, None] < _WEAK * likely
    crowded = apart <= np.where(weak, _APART_WEAK, _APART)
    kept: list[int] = []
    taken = np.zeros(len(points), np.bool_)
    for number in range(len(points)):
        if not taken[number]:
            kept.append(number)
            taken |= crowded[:, number]
    return points[kept], sizes[kept], likely[kept]


def _sub_pixels(ink: Floats) -> Floats:
    """The four channels of each cell (h/4, w/4, 4) as a map of half the picture's size."""
    height, width, _ = ink.shape
    pairs = np.ascontiguousarray(ink).view(np.float64)  # two neighbours in a row are moved as one number
    return np.ascontiguousarray(pairs.transpose(0, 2, 1)).view(np.float32).reshape(2 * height, 2 * width)


def _owners(places: NDArray[np.intp], maps: Maps, centres: Floats, sizes: Floats) -> NDArray[np.int16]:
    """The peak that each ink pixel votes for, -1 for none; `places` count in a flat map of half the size."""
    height, width = maps.centre.shape
    ways = cv2.resize(maps.offset, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR).reshape(-1, 3)
    rows, columns = np.divmod(places, 2 * width)
    votes = np.empty((len(places), 4), np.float32)
    votes[:, 0], votes[:, 1] = columns, rows
    votes[:, :2] *= 2
    votes[:, :2] += np.float32(0.5) + ways[places, :2] * np.float32(UNIT)
    # |v - c|² = |v|² - 2 v·c + |c|², in sizes², as one matrix product
    votes[:, 2] = votes[:, 0] ** 2 + votes[:, 1] ** 2
    votes[:, 3] = 1
    peaks = np.stack([*(-2 * centres.T), np.ones_like(sizes), (centres**2).sum(axis=1)])
    misses = votes @ (peaks / sizes**2)
    owners = misses.argmin(axis=1)
    owners[misses[np.arange(len(owners)), owners] > _REACH**2] = -1
    return np.asarray(owners, np.int16)


def own_ink(
    grey: Pixels, ink: Floats, named: NDArray[np.int16], number: int, box: BoundingBox
) -> Pixels | None:
    """The ink of one digit, bright on black: where it is the eye says, how strong it is the picture.

    `ink` and `named`, the digit that each pixel's ink belongs to, have half the size of `grey`, as has `box`.
    None where nothing stands out of the paper.
    """
    left, top, width, height = box
    margin = max(3, max(width, height) // 6)
    rows = slice(max(0, top - margin), top + height + margin)
    columns = slice(max(0, left - margin), left + width + margin)
    all_ink, owner = ink[rows, columns], named[rows, columns]
    own = all_ink * (owner == number)
    # Beside its own ink its soft edge counts, too, unless that is another digit's.
    soft = cv2.min(cv2.dilate(own, _NEXT), np.float32(2.2) * all_ink)
    np.copyto(own, soft, where=owner == -1)
    part = grey[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop].astype(np.float32)
    size = (part.shape[1], part.shape[0])
    paper = _paper(part[::2, ::2], all_ink)
    above: Floats = cv2.resize(paper, size, interpolation=cv2.INTER_LINEAR) - part
    own = np.asarray(cv2.resize(own, size, interpolation=cv2.INTER_LINEAR), np.float32)
    contrast = float(np.vdot(above, own)) / max(float(own.sum()), 1.0)  # below 0 for light ink on dark
    if abs(contrast) < 2:
        return None
    own *= np.float32(1.6)
    above *= np.minimum(own, np.float32(1), out=own)
    above *= np.float32(200 / contrast)
    np.minimum(np.maximum(above, np.float32(0), out=above), np.float32(255), out=above)
    return above.astype(np.uint8)


def _paper(part: Floats, ink: Floats) -> Floats:
    """How bright the paper is under and around the ink: the mean of what is free of ink nearby."""
    free = np.maximum(1 - 2 * cv2.dilate(ink, _NEXT), 0) + np.float32(1e-3)
    side = max(free.shape) // 2 | 1
    return np.asarray(cv2.blur(free * part, (side, side)) / cv2.blur(free, (side, side)), np.float32)
