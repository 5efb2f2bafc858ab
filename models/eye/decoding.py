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
    rows, columns = np.nonzero(ink > _INK)
    owners = _owners(rows, columns, maps, centres, sizes)
    named = np.full(ink.shape, -1, np.int16)
    named[rows, columns] = owners
    order = np.argsort(owners, kind="stable")
    ends = np.searchsorted(owners[order], np.arange(len(centres) + 1))
    found = []
    for number, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        if end - start < _LEAST_VOTES:
            continue
        ys, xs = rows[order[start:end]], columns[order[start:end]]
        top, bottom, left, right = int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1
        own = own_ink(grey, ink, named, number, (left, top, right - left, bottom - top))
        if own is not None:
            box = (2 * left, 2 * top, 2 * (right - left), 2 * (bottom - top))
            found.append(SeenDigit(box, float(likely[number] * ink[ys, xs].mean()), own))
    return found


def _peaks(maps: Maps) -> tuple[Floats, Floats, Floats]:
    """Where digits have their centres, x and y (n, 2) in pixels, how large they are and how likely."""
    centre = maps.centre
    ys, xs = np.nonzero((centre >= _CENTRE) & (centre == cv2.dilate(centre, _NEXT)))
    order = np.argsort(-centre[ys, xs], kind="stable")[:_MOST]
    ys, xs = ys[order], xs[order]
    points = np.stack([xs, ys], axis=1).astype(np.float32) * CELL + (CELL - 1) / 2
    around = np.stack(
        [
            maps.offset[np.clip(ys + dy, 0, centre.shape[0] - 1), np.clip(xs + dx, 0, centre.shape[1] - 1), 2]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
    ).reshape(9, -1)
    sizes = np.clip(UNIT * 2.0 ** np.median(around, axis=0), _SMALLEST, _LARGEST).astype(np.float32)
    apart = np.linalg.norm(points[:, None] - points, axis=2) / np.maximum(sizes[:, None], sizes)
    likely = centre[ys, xs]
    weak = likely[:, None] < _WEAK * likely
    crowded = apart <= np.where(weak, _APART_WEAK, _APART)
    kept: list[int] = []
    for number in range(len(points)):
        if not crowded[number, kept].any():
            kept.append(number)
    return points[kept], sizes[kept], likely[kept]


def _sub_pixels(ink: Floats) -> Floats:
    """The four channels of each cell (h/4, w/4, 4) as a map of half the picture's size."""
    height, width, _ = ink.shape
    return np.ascontiguousarray(
        ink.reshape(height, width, 2, 2).transpose(0, 2, 1, 3).reshape(2 * height, 2 * width)
    )


def _owners(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    maps: Maps,
    centres: Floats,
    sizes: Floats,
) -> NDArray[np.intp]:
    """The peak that each ink pixel, in a map of half the picture's size, votes for; -1 for none."""
    height, width = maps.centre.shape
    ways = cv2.resize(maps.offset[..., :2], (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    votes = np.stack([columns, rows], axis=1) * np.float32(2) + np.float32(0.5)
    votes = votes + ways[rows, columns] * np.float32(UNIT)
    # |v - c|² in sizes², as one matrix product
    misses = (votes**2).sum(axis=1)[:, None] - 2 * votes @ centres.T + (centres**2).sum(axis=1)
    misses /= sizes**2
    owners = np.asarray(misses.argmin(axis=1))
    owners[misses[np.arange(len(owners)), owners] > _REACH**2] = -1
    return owners


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
    own = np.where(owner == number, all_ink, np.float32(0))
    # Beside its own ink its soft edge counts, too, unless that is another digit's.
    soft = np.minimum(cv2.dilate(own, _NEXT), np.float32(2.2) * all_ink)
    own = np.where(owner == -1, soft, own)
    part = grey[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop].astype(np.float32)
    size = (part.shape[1], part.shape[0])
    paper = _paper(part[::2, ::2], all_ink)
    above = cv2.resize(paper, size, interpolation=cv2.INTER_LINEAR) - part
    own = cv2.resize(own, size, interpolation=cv2.INTER_LINEAR)
    contrast = float(np.vdot(above, own)) / max(float(own.sum()), 1.0)  # below 0 for light ink on dark
    if abs(contrast) < 2:
        return None
    own = np.minimum(np.float32(1.6) * own, np.float32(1))
    return np.asarray(np.clip(above * own * np.float32(200 / contrast), 0, 255), np.uint8)


def _paper(part: Floats, ink: Floats) -> Floats:
    """How bright the paper is under and around the ink: the mean of what is free of ink nearby."""
    free = np.maximum(1 - 2 * cv2.dilate(ink, _NEXT), 0) + np.float32(1e-3)
    side = max(free.shape) // 2 | 1
    paper = cv2.blur(free * part, (side, side)) / cv2.blur(free, (side, side))
    return np.asarray(paper, np.float32)
