"""The eye: finds the handwritten digits in a picture of any size.

eye = Eye.of(Bundle.load(folder))
for digit in eye.glance(frame):
    crop = normalise(digit.ink)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle
from models.bundle.manifest import EYE_FILE
from models.eye.decoding import SeenDigit, decode
from models.eye.network import MULTIPLE, EyeError, EyeNetwork
from models.geometry import BoundingBox, intersection_over_smaller, intersection_over_union

Pixels = NDArray[np.uint8]

FRAME_PIXELS = 640 * 480
"""A camera's frame is looked at with about so many pixels."""
TINY_SIDE = 160
"""A picture with no longer side than this was cut out: it is enlarged, with room around it."""
_ROOM = 48
"""The room, in pixels: the picture's edge is continued."""
_ENLARGED = 208
"""The longer side that it is enlarged to, in pixels."""
_CELL_LOOKS = (0, 256), (1 / 16, 208), (1 / 9, 144)
"""A cell is looked at without so much of each side, where its grid is, enlarged to so many pixels."""
_SMALLEST = 9
"""Smaller digits, in pixels of what is looked at, are noise."""
_SAME = 0.45
"""Two looks saw the same digit where it shares so much of both boxes together."""
_SHARED = 0.4
"""Two digits can't both be there where they share so much of the smaller one."""


class Eye:
    """An eye in memory. Not for use by two threads at once."""

    def __init__(self, content: bytes) -> None:
        """`content` is that of `eye.tflite`. Raises EyeError where it is no network of an eye."""
        self._network = EyeNetwork(content)

    @classmethod
    def of(cls, bundle: Bundle | None = None) -> Eye:
        """The eye that the bundle brings, else the shipped one. Raises EyeError."""
        if bundle is not None and bundle.eye is not None:
            return cls(bundle.eye)
        path = Path(models.__file__).parent / "factory" / EYE_FILE
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise EyeError(f"The shipped eye {path} can't be read: {error.strerror}.") from None

    def glance(self, picture: Pixels) -> list[SeenDigit]:
        """The digits in a BGR (h, w, 3) or grey (h, w) picture, seen in one look; boxes in its pixels."""
        grey = as_grey(picture)
        longer = max(grey.shape)
        if longer <= TINY_SIDE:
            return self._look(grey, _ENLARGED / longer, _ROOM)
        scale = math.sqrt(FRAME_PIXELS / grey.size)
        return self._look(grey, scale if scale < 0.95 else 1.0)

    def examine(self, cell: Pixels) -> list[list[SeenDigit]]:
        """The digits in a tiny picture that holds one, for each of several looks; boxes in its pixels."""
        grey, looks = as_grey(cell), []
        for edge, enlarged in _CELL_LOOKS:
            top, left = (round(edge * side) for side in grey.shape)
            inner = np.ascontiguousarray(grey[top : grey.shape[0] - top, left : grey.shape[1] - left])
            seen = self._look(inner, enlarged / max(inner.shape), _ROOM)
            looks.append([replace(digit, box=_shifted(digit.box, left, top)) for digit in seen])
        return looks

    def search(self, picture: Pixels, sides: Sequence[int]) -> list[list[SeenDigit]]:
        """As `examine`, a picture of any size, shrunk to each of `sides` as its longer side, in pixels."""
        grey = as_grey(picture)
        return [self._look(grey, min(1.0, side / max(grey.shape))) for side in sides]

    def _look(self, grey: Pixels, scale: float, room: int = 0) -> list[SeenDigit]:
        """What is seen in the picture scaled, with so many pixels of paper around it."""
        small = grey
        if scale != 1:
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            small = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=how), np.uint8)
        below, right = (room + -(side + 2 * room) % MULTIPLE for side in small.shape)
        if below or right:
            paper = float(np.median(small)) if room else 0.0
            how = cv2.BORDER_CONSTANT if room else cv2.BORDER_REPLICATE
            continued = cv2.copyMakeBorder(small, room, below, room, right, how, value=paper)
            small = np.asarray(continued, np.uint8)
        seen = [digit for digit in decode(small, self._network.run(small)) if max(digit.box[2:]) >= _SMALLEST]
        if scale == 1 and not room:
            return seen
        return [replace(digit, box=_moved(digit.box, room, scale, grey.shape)) for digit in seen]


def _shifted(box: BoundingBox, x: int, y: int) -> BoundingBox:
    return box[0] + x, box[1] + y, box[2], box[3]


def merged(looks: Sequence[Sequence[SeenDigit]]) -> list[list[SeenDigit]]:
    """The digits of several looks, each as it was seen in one or more of them, best first.

    Of two that share their ink, the one that the looks agree on is kept: a stroke of a large digit may look
    like a digit where the picture is large, the whole digit does in every look.
    """
    views = []
    for look in looks:
        for digit in look:
            same = [
                [other for other in others if intersection_over_union(digit.box, other.box) > _SAME]
                for others in looks
            ]
            seen = [max(view, key=lambda other: other.score) for view in same if view]
            views.append((sum(other.score for other in seen), digit, seen))
    kept: list[list[SeenDigit]] = []
    for _, digit, seen in sorted(views, key=lambda view: -view[0]):
        if all(intersection_over_smaller(digit.box, group[0].box) < _SHARED for group in kept):
            kept.append(sorted(seen, key=lambda other: -other.score))
    return kept


def as_grey(picture: Pixels) -> Pixels:
    """A BGR (h, w, 3) or grey (h, w) picture as grey (h, w). Raises ValueError for anything else."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
        raise ValueError(f"a picture is (h, w) or (h, w, 3) uint8, not {picture.shape} {picture.dtype}")
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _moved(box: BoundingBox, room: int, scale: float, shape: tuple[int, ...]) -> BoundingBox:
    """A box of the scaled picture, in pixels of the picture (h, w) that was scaled."""
    left, right = (min(max(round((x - room) / scale), 0), shape[1]) for x in (box[0], box[0] + box[2]))
    top, bottom = (min(max(round((y - room) / scale), 0), shape[0]) for y in (box[1], box[1] + box[3]))
    return left, top, max(1, right - left), max(1, bottom - top)
