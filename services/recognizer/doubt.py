"""Which candidates are codes: the gate's scores, seen in company.

A letter may look like a digit, a word of letters does not look like a code. So a line is judged as a whole:
what stands alone must be surer than what stands among its like, and a line in whose row much is no digit is
text. What stands between digits, is as tall and by the same pen, is a digit that can't be read: left out, it
would make a shorter code of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from models.geometry import around, intersection_over_smaller
from services.recognizer.locate import Candidate
from services.recognizer.reading import GroupSettings, lines_of


@dataclass(frozen=True)
class DoubtSettings:
    """How sure the gate must be, 0 to 1."""

    possible: float = 0.1
    """Below this nothing is a digit, whatever its company."""
    sure: float = 0.8
    """From here on it is one, whatever its company."""
    likely: float = 0.35
    """A line neither begins nor ends with less."""
    likely_bar: float = 0.45
    """The same, for an upright line that is a one if anything."""
    company: int = 3
    """Where so many surely are digits, any that is possible may be first or last, save an upright line."""
    mean: float = 0.55
    """Over a line's digits, at least."""
    few: float = 0.15
    """So much more for each digit that a line has fewer than four: the shorter, the likelier by chance."""
    bars: float = 0.95
    """The same, where all digits are upright lines."""
    other_width: float = 1.8
    other_contrast: float = 1.6
    """Within a line, stroke width and contrast differ at most by these factors from their medians."""
    bar_contrast: float = 1.18
    """The same for the contrast of an upright line that the gate is less sure of than `sure_bar`."""
    sure_bar: float = 0.9
    unread: float = 1 / 3
    """Of a line's digits, so many may be none by the gate, between others."""
    mean_around: float = 0.85
    """Over the others of such a line, at least."""
    lone: float = 0.95
    """For a digit alone."""
    lone_bar: float = 0.985
    """For an upright line alone."""
    lone_calm: float = 0.5
    """How even the ground around a lone digit must be."""
    calm: float = 0.25
    """How even the ground around any digit must be."""
    cell: float = 0.3
    """For the digit of a cell."""
    strangers: float = 0.5
    """Things in a line's row that are no digits, for each digit in it, at most."""


def codes_among(
    candidates: Sequence[Candidate],
    scores: NDArray[np.float32],
    grouping: GroupSettings,
    settings: DoubtSettings,
) -> list[list[int]]:
    """The candidates that make up codes: their indices in reading order, a list for each code."""
    possible = [
        index
        for index, candidate in enumerate(candidates)
        if scores[index] >= settings.possible and candidate.calm >= settings.calm and not _is_frame(candidate)
    ]
    possible = _without_rivals(possible, candidates, scores)
    possible = sorted([*possible, *_between(possible, candidates, scores, settings)])
    boxes = [candidates[index].box for index in possible]
    codes = []
    for row in lines_of(boxes, grouping):
        code = _of_one_hand([possible[place] for place in row], candidates, scores, settings)
        code = _trimmed(code, candidates, scores, settings)
        if code and _is_code(code, candidates, scores, settings):
            codes.append(code)
    return codes


def digit_in_cell(
    candidates: Sequence[Candidate],
    scores: NDArray[np.float32],
    shape: tuple[int, int],
    settings: DoubtSettings,
) -> list[list[int]]:
    """The one digit of a cell of `shape` (h, w), as `codes_among` gives it.

    It is the surest, the largest, the most central; what is left of the grid lies at the cell's edges.
    """
    height, width = shape
    best, most = -1, 0.0
    for index, candidate in enumerate(candidates):
        x, y, w, h = candidate.box
        aside = max(abs(x + w / 2 - width / 2) / width, abs(y + h / 2 - height / 2) / height)
        worth = float(scores[index]) * h / height * (1 - 1.4 * aside)
        if worth > most and scores[index] >= settings.cell:
            best, most = index, worth
    return [[best]] if best >= 0 else []


def _without_rivals(
    possible: list[int], candidates: Sequence[Candidate], scores: NDArray[np.float32]
) -> list[int]:
    """Of candidates that share their ink, the one that is most surely a digit and the largest."""
    boxes = np.array([candidates[index].box for index in possible], dtype=np.float64).reshape(-1, 4)
    x, y, w, h = boxes.T
    area = w * h
    across = np.minimum(x[:, None] + w[:, None], x + w) - np.maximum(x[:, None], x)
    down = np.minimum(y[:, None] + h[:, None], y + h) - np.maximum(y[:, None], y)
    shared = np.maximum(across, 0) * np.maximum(down, 0) / np.minimum(area[:, None], area)
    worth = scores[possible] * np.sqrt(h)
    kept: list[int] = []
    for place in np.argsort(-worth, kind="stable").tolist():
        if all(shared[place, other] < 0.6 for other in kept):
            kept.append(place)
    return [possible[place] for place in sorted(kept)]


def _between(
    possible: Sequence[int],
    candidates: Sequence[Candidate],
    scores: NDArray[np.float32],
    settings: DoubtSettings,
) -> list[int]:
    """What is no digit by itself but stands between two that surely are, of their height and by their pen."""
    sure = [index for index in possible if scores[index] >= settings.sure]

    def _beside(index: int, side: int) -> bool:
        x, y, w, h = candidates[index].box
        for other in sure:
            ox, oy, ow, oh = candidates[other].box
            gap = ox - x - w if side > 0 else x - ox - ow
            level = abs(oy + oh / 2 - y - h / 2) < 0.3 * oh
            like = _alike(candidates[index], (candidates[other].stroke, candidates[other].contrast), settings)
            if level and like and -0.25 * oh < gap < 0.9 * oh and 0.7 * oh < h < 1.4 * oh:
                return True
        return False

    return [
        index
        for index, candidate in enumerate(candidates)
        if scores[index] < settings.possible
        and candidate.box[2] < 1.2 * candidate.box[3]
        and not any(
            intersection_over_smaller(candidate.box, candidates[other].box) > 0.3 for other in possible
        )
        and _beside(index, -1)
        and _beside(index, 1)
    ]


def _of_one_hand(
    code: list[int], candidates: Sequence[Candidate], scores: NDArray[np.float32], settings: DoubtSettings
) -> list[int]:
    """The line without what another pen wrote, or no pen: a card's edge, a crease, a shadow."""
    sure = [index for index in code if scores[index] >= settings.likely]
    if len(sure) < 2:
        return code
    pen = _pen(sure, candidates)

    def _is_edge(index: int) -> bool:
        ratio = candidates[index].contrast / pen[1]
        bar = _is_bar(candidates[index]) and scores[index] < settings.sure_bar
        return bar and not 1 / settings.bar_contrast < ratio < settings.bar_contrast

    return [index for index in code if _alike(candidates[index], pen, settings) and not _is_edge(index)]


def _pen(code: Sequence[int], candidates: Sequence[Candidate]) -> tuple[float, float]:
    """Width and contrast of the strokes: the median."""
    stroke = median(candidates[index].stroke for index in code)
    return stroke, median(candidates[index].contrast for index in code)


def _alike(candidate: Candidate, pen: tuple[float, float], settings: DoubtSettings) -> bool:
    width, contrast = candidate.stroke / pen[0], candidate.contrast / pen[1]
    return (
        1 / settings.other_width < width < settings.other_width
        and 1 / settings.other_contrast < contrast < settings.other_contrast
    )


def _is_frame(candidate: Candidate) -> bool:
    """Whether it is the outline of a rectangle: ink along all of all four sides."""
    ink = candidate.ink
    deep = max(1, min(math.ceil(candidate.stroke) + 2, min(ink.shape) // 5))  # a bold 8 is none
    for side in (ink[:deep], ink[-deep:], ink[:, :deep].T, ink[:, -deep:].T):
        along = side.max(axis=0)
        if np.count_nonzero(along > 100) < 0.85 * len(along):
            return False
    return True


def _is_bar(candidate: Candidate) -> bool:
    """Whether it is no more than an upright line, which a one is, and an edge as well."""
    _, _, w, h = candidate.box
    return w < 0.45 * h


def _trimmed(
    code: list[int], candidates: Sequence[Candidate], scores: NDArray[np.float32], settings: DoubtSettings
) -> list[int]:
    in_company = sum(scores[index] >= settings.sure for index in code) >= settings.company

    def _least(index: int) -> float:
        if _is_bar(candidates[index]):
            return settings.likely_bar
        return settings.possible if in_company else settings.likely

    kept = [place for place, index in enumerate(code) if scores[index] >= _least(index)]
    return code[kept[0] : kept[-1] + 1] if kept else []


def _is_code(
    code: list[int], candidates: Sequence[Candidate], scores: NDArray[np.float32], settings: DoubtSettings
) -> bool:
    read = [float(scores[index]) for index in code if scores[index] >= settings.possible]
    if len(code) - len(read) > settings.unread * len(code):
        return False
    mean = sum(read) / len(read)
    if len(code) == 1:
        lone = candidates[code[0]]
        least = settings.lone_bar if _is_bar(lone) else settings.lone
        if mean < least or lone.calm < settings.lone_calm:
            return False
    if all(_is_bar(candidates[index]) for index in code):
        least = settings.bars
    else:
        least = settings.mean + settings.few * max(0, 4 - len(code))
    if len(read) < len(code):
        least = max(least, settings.mean_around)
    if mean < least:
        return False
    return _strangers(code, candidates, scores, settings) <= settings.strangers * len(code)


def _strangers(
    code: list[int], candidates: Sequence[Candidate], scores: NDArray[np.float32], settings: DoubtSettings
) -> int:
    """How many things in the code's row look written by the same pen and are no digits."""
    x, y, w, h = around([candidates[index].box for index in code])
    tall = median(candidates[index].box[3] for index in code)
    pen = _pen(code, candidates)
    count = 0
    for index, candidate in enumerate(candidates):
        if index in code or scores[index] >= (settings.likely if len(code) == 1 else settings.possible):
            continue
        cx, cy, cw, ch = candidate.box
        level = y - 0.3 * tall <= cy + ch / 2 <= y + h + 0.3 * tall
        near = cx + cw > x - 1.3 * tall and cx < x + w + 1.3 * tall
        rival = any(intersection_over_smaller(candidate.box, candidates[other].box) > 0.3 for other in code)
        sized = 0.5 * tall <= ch <= 1.8 * tall
        count += level and near and sized and not rival and _alike(candidate, pen, settings)
    return count
