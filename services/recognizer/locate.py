"""Where ink is that could be a digit.

Dark strokes on lighter ground are what a black top-hat leaves: the ground is estimated by a morphological
closing wider than any stroke, at half scale, which follows gradients, shadows and the edges of large things
and swallows strokes. What stands below the ground, relative to its brightness, is ink; connected ink is a
component; what its size, shape, stroke width and contrast allow is a candidate. Light strokes on dark ground
are the same on the inverted picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from services.recognizer.components import Limits, Piece, joined, pieces_of, side_by_side

Pixels = NDArray[np.uint8]
BoundingBox = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class LocateSettings:
    """What may be a digit, in pixels of the frame that is searched."""

    min_height: int = 11
    max_height: float = 0.6
    """Share of the frame's shorter side."""
    ground: int = 23
    """Side of the closing; strokes up to about this wide are ink."""
    faint: float = 0.07
    """Contrast from which a pixel belongs to a stroke."""
    plain: float = 0.13
    """Contrast that the stronger part of a stroke must reach."""
    polarity: Literal["dark", "light", "both"] = "dark"
    """Ink darker than its ground, lighter, or either (costs twice)."""
    border: int = 1
    """Ink nearer than this to the frame's edge touches it."""
    keep_touching: bool = False
    """Whether ink that touches the edge may be a digit, or was cut off by it."""
    again: int = 1_200_000
    """Pixels a frame that are looked at again where ink is too large for a digit; each look counts."""
    levels: int = 2
    """Rising thresholds tried there, at most."""
    rise: float = 2.1
    """From one to the next; more where fewer are tried."""
    widest: float = 5.0
    """Width over height of several digits that touch, at most; 1.6 where only single ones are looked for."""
    most: int = 64
    """Candidates a frame; the best are kept."""


@dataclass(frozen=True)
class Candidate:
    """Ink that could be a digit."""

    box: BoundingBox
    ink: Pixels = field(repr=False)
    """(h, w): this ink alone, bright on black, its own contrast stretched to 255; ready for `normalise`."""
    stroke: float
    """Width of its stroke in pixels."""
    contrast: float
    """Of its ink against its ground, 0 to 1."""
    calm: float
    """How even the ground around it is, 0 (a texture) to 1 (paper)."""
    light: bool = False
    """Whether it is lighter than its ground."""


def locate(frame: Pixels, settings: LocateSettings | None = None) -> list[Candidate]:
    """Find ink in a BGR (h, w, 3) or grey (h, w) picture that could be digits; best first.

    Raises ValueError for anything else.
    """
    settings = settings or LocateSettings()
    grey = _grey(frame)
    if min(grey.shape) < settings.min_height:
        return []
    found: list[Candidate] = []
    if settings.polarity != "light":
        found += _candidates(grey, settings, light=False)
    if settings.polarity != "dark":
        found += _candidates(np.asarray(cv2.bitwise_not(grey), dtype=np.uint8), settings, light=True)
    if not settings.keep_touching:  # there, which version of the same ink is the best is for the gate to say
        found = _distinct(found)
    found.sort(key=_promise, reverse=True)
    return found[: settings.most]


def _distinct(found: list[Candidate]) -> list[Candidate]:
    """Without what was found twice: as a piece, and as a part of a larger one."""
    if len(found) < 2:
        return found
    x, y, w, h = np.array([candidate.box for candidate in found]).T
    across = np.minimum(x[:, None] + w[:, None], x + w) - np.maximum(x[:, None], x)
    down = np.minimum(y[:, None] + h[:, None], y + h) - np.maximum(y[:, None], y)
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    same = np.tril(shared > 0.8 * (w * h + (w * h)[:, None] - shared), -1)
    return [candidate for candidate, twice in zip(found, same.any(axis=1), strict=True) if not twice]


def _grey(frame: Pixels) -> Pixels:
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
        raise ValueError(f"a picture is uint8 (h, w, 3) or (h, w), not {frame.dtype} {frame.shape}")
    if frame.ndim == 2:
        return frame
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def contrast(grey: Pixels, side: int) -> Pixels:
    """How far each pixel lies below its ground, as a share of the ground's brightness: 0 to 255."""
    height, width = grey.shape
    half = cv2.resize(grey, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    # Shrunk more than it was grown, the ground keeps off the edges of large dark things: they are no strokes.
    grow = np.ones((side // 2 | 1, side // 2 | 1), np.uint8)
    shrink = np.ones((grow.shape[0] + 4, grow.shape[1] + 4), np.uint8)
    ground = cv2.erode(cv2.dilate(half, grow), shrink)
    ground = cv2.resize(cv2.blur(ground, (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    below = cv2.subtract(ground, grey)
    # In the dark the same contrast is more noise: a floor under the ground's brightness.
    cv2.max(ground, 48, dst=ground)  # type: ignore[call-overload]
    return np.asarray(cv2.divide(below, ground, dst=below, scale=255), dtype=np.uint8)


def _candidates(grey: Pixels, settings: LocateSettings, light: bool) -> list[Candidate]:
    relief = contrast(grey, settings.ground)
    soft = max(settings.ground // 9, 3) | 1
    smooth = np.asarray(cv2.GaussianBlur(relief, (soft, soft), 0), dtype=np.uint8)
    faint = max(settings.faint * 255, _noise(smooth))
    limits = Limits(
        shape=(grey.shape[0], grey.shape[1]),
        smallest=settings.min_height,
        largest=settings.max_height * min(grey.shape),
        border=settings.border,
        keep_touching=settings.keep_touching,
        widest=settings.widest,
        again=settings.again,
        levels=settings.levels,
        rise=settings.rise,
    )
    pieces = [
        piece
        for piece in joined(pieces_of(smooth, faint, limits), limits)
        if piece.w <= max(1.6, settings.widest) * piece.h and piece.h <= 12 * piece.w
    ]
    # Asked in order of size, so that a texture's crumbs cannot crowd out the rest.
    found = []
    for piece in pieces[: settings.most + settings.most // 4]:
        found += _candidate(piece, relief, faint, settings, light)
    return found


def _noise(relief: Pixels) -> float:
    """The relief that noise alone hardly reaches: a thousandth of pure noise lies above, however strong."""
    sample = relief[::9, ::7].ravel()
    quarter = len(sample) // 4
    return 2.6 * float(np.partition(sample, quarter)[quarter])


def _candidate(
    piece: Piece, relief: Pixels, faint: float, settings: LocateSettings, light: bool, whole: bool = False
) -> list[Candidate]:
    """The digit that a piece is, or those that it falls into by its own threshold, unless it is `whole`."""
    height, width = relief.shape
    x0, y0 = max(piece.x - 2, 0), max(piece.y - 2, 0)
    x1, y1 = min(piece.x + piece.w + 2, width), min(piece.y + piece.h + 2, height)
    patch = relief[y0:y1, x0:x1]
    mask = piece.mask(x0, y0, x1 - x0, y1 - y0)
    mean, spread = cv2.meanStdDev(patch, mask=mask)
    strong = min(float(mean[0, 0]) + 0.9 * float(spread[0, 0]), 255.0)
    if strong < max(settings.plain * 255, 1.5 * faint):
        return []
    # Its own threshold, from its own contrast: a faint halo around bold ink is not ink.
    _, bold = cv2.threshold(patch, 0.45 * strong, 255, cv2.THRESH_BINARY)
    core = np.asarray(cv2.bitwise_and(mask, bold), dtype=np.uint8)
    core_area = cv2.countNonZero(core)
    if core_area < 5:
        return []
    bx, by, bw, bh = cv2.boundingRect(core)
    if bw > 0.75 * bh and not whole:
        parts = side_by_side(core, (x0, y0))
        if len(parts) > 1:
            split = (_candidate(part, relief, faint, settings, light, whole=True) for part in parts)
            return [candidate for candidates in split for candidate in candidates]
    if bh < settings.min_height * 0.8:
        return []
    if bw > 0.45 * bh and core_area > 0.78 * bw * bh:
        return []
    stroke = _stroke(core, core_area)
    if stroke > 0.42 * max(bw, bh):
        return []
    # Ground to black and ink to white, the soft edge of the strokes kept.
    ink = cv2.bitwise_and(cv2.LUT(patch, _stretch(round(strong))), cv2.dilate(mask, _CROSS))
    bx, by = max(bx - 1, 0), max(by - 1, 0)
    bw, bh = min(bw + 2, ink.shape[1] - bx), min(bh + 2, ink.shape[0] - by)
    return [
        Candidate(
            box=(x0 + bx, y0 + by, bw, bh),
            ink=np.array(ink[by : by + bh, bx : bx + bw], dtype=np.uint8),
            stroke=stroke,
            contrast=strong / 255,
            calm=_calm(relief, faint, piece, strong),
            light=light,
        )
    ]


@lru_cache(maxsize=256)
def _stretch(strong: int) -> Pixels:
    """The table that takes the ground to 0 and ink of strength `strong` to 255."""
    stretched = np.clip((np.arange(256) - 0.22 * strong) * (255 / (0.7 * strong)), 0, 255)
    return np.asarray(stretched, dtype=np.uint8)


_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def _stroke(core: Pixels, area: int) -> float:
    """Stroke width as area over length: a closed outline is about twice as long as its stroke."""
    inner = cv2.countNonZero(cv2.erode(core, _CROSS))
    return 2.0 * area / max(area - inner, 1)


def _calm(relief: Pixels, faint: float, piece: Piece, strong: float) -> float:
    """1 where nothing but this ink stands out around it."""
    height, width = relief.shape
    pad = max(4, piece.h // 4)
    x0, y0 = max(piece.x - pad, 0), max(piece.y - pad, 0)
    x1, y1 = min(piece.x + piece.w + pad, width), min(piece.y + piece.h + pad, height)
    around = relief[y0:y1, x0:x1]
    _, bare = cv2.threshold(around, faint, 255, cv2.THRESH_BINARY_INV)
    mean = cv2.mean(around, bare)[0]
    return min(max(1.0 - 2.5 * mean / strong, 0.0), 1.0)


def _promise(candidate: Candidate) -> float:
    """A rank before any model has looked: calm ground, clear contrast, a size one can read."""
    return candidate.calm * (0.3 + min(candidate.contrast, 0.7)) * min(candidate.box[3] / 24, 1.0)
