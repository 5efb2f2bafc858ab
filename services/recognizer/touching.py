"""Digits that touch one another: ink that is no digit as a whole, cut where it is thin.

Cuts are tried along lines near the upright that cross little ink; of all ways to cut, the one whose parts the
gate takes most surely for digits is chosen, if all of them may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inference.normalise import normalise
from services.recognizer.locate import Candidate

Pixels = NDArray[np.uint8]
Scores = Callable[[Pixels], NDArray[np.float32]]
"""Crops (n, 28, 28) in, how likely each is a digit (n,) out."""
Part = tuple[Candidate, Pixels, float]
"""A digit that was cut off: its ink, its crop, how likely it is one."""
Cutting = Generator[Pixels, NDArray[np.float32] | None, list[Part]]
"""Asks by crops (n, 28, 28), is sent how likely each is a digit (n,), and comes to the digits it found."""


@dataclass(frozen=True)
class TouchingSettings:
    """What is cut, and how sure the gate must be of the parts."""

    whole: float = 0.97
    """Ink that is a digit with at least this is left whole."""
    wide: float = 0.78
    """Width over height from which ink may be two digits."""
    widest: float = 5.5
    """The same, beyond which it is no code."""
    narrow: float = 0.16
    broad: float = 1.15
    """Width over height of a part, at least and at most."""
    usual: float = 0.75
    breadth: float = 2.0
    """What each height that a part is wider than `usual` costs, in units of doubt."""
    part: float = 0.15
    """Of every part, at least."""
    mean: float = 0.75
    """Over the parts, at least."""
    cut: float = 0.2
    """What a cut must bring, in units of doubt: so that a digit isn't cut for nothing."""
    crossed: float = 2.6
    """Strokes that a cut crosses, at most."""
    crossing: float = 0.15
    """What a stroke that a cut crosses costs, in the same units."""
    tall: float = 0.65
    """Of the height, so much holds ink at either end: the first and the last digit are about as tall."""
    most: int = 5
    """Pieces of ink a frame that are cut, at most."""
    calm: float = 0.25
    """How even the ground around it must be."""


_LOOKED_AT = 48
"""Cuts are looked for in ink of at most this height."""
_SLANTS = (-0.4, -0.2, 0.0, 0.2, 0.4)
"""Of a cut: how far it moves to the right from top to bottom, in heights."""


@dataclass(frozen=True)
class Cut:
    """A line from (x - slant/2 heights) at the top to (x + slant/2 heights) at the bottom."""

    x: float
    slant: float
    crossed: float
    """How many strokes it crosses."""


def parted(
    candidates: Sequence[Candidate],
    scores: NDArray[np.float32],
    score: Scores,
    settings: TouchingSettings,
) -> list[Part]:
    """The digits into which wide candidates fall."""
    wide = []
    for candidate, own in zip(candidates, scores, strict=True):
        _, _, w, h = candidate.box
        fits = settings.wide * h <= w <= settings.widest * h
        if fits and own < settings.whole and candidate.calm >= settings.calm:
            wide.append(candidate)
    return _all_at_once([_digits_of(candidate, settings) for candidate in wide[: settings.most]], score)


def _all_at_once(cuttings: Sequence[Cutting], score: Scores) -> list[Part]:
    """Carry them all out, a step at a time: what they ask in one step goes through the gate together."""
    found: list[list[Part]] = [[] for _ in cuttings]
    answers: dict[int, NDArray[np.float32] | None] = dict.fromkeys(range(len(cuttings)))  # None: begin
    while True:
        asked: dict[int, Pixels] = {}
        for number, answer in answers.items():
            try:
                asked[number] = cuttings[number].send(answer)
            except StopIteration as end:
                found[number] = end.value
        if not asked:
            return [part for parts in found for part in parts]
        likely = score(np.concatenate([*asked.values()]))
        ends = np.cumsum([len(crops) for crops in asked.values()])
        answers = dict(zip(asked, np.split(likely, ends[:-1]), strict=True))


def _digits_of(candidate: Candidate, settings: TouchingSettings) -> Cutting:
    scale = min(1.0, _LOOKED_AT / candidate.ink.shape[0])
    ink = candidate.ink
    if scale < 1:
        ink = np.asarray(cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    height = ink.shape[0]
    reach = round(0.6 * height)
    if any(_tall(ink[:, part]) < settings.tall for part in (slice(reach), slice(-reach, None))):
        return []
    ends = cuts(ink, max(scale * candidate.stroke, 1.0), settings)
    last = len(ends) - 1
    if last < 2:
        return []

    def spans(starts: Sequence[int], stops: Sequence[int]) -> list[tuple[int, int]]:
        least, most = settings.narrow * height, settings.broad * height
        return [(a, b) for a in starts for b in stops if least <= ends[b].x - ends[a].x <= most]

    parts: dict[tuple[int, int], Part] = {}

    def judge(wanted: list[tuple[int, int]]) -> Generator[Pixels, NDArray[np.float32] | None, None]:
        cut = {span: between(ink, ends[span[0]], ends[span[1]]) for span in wanted}
        held = {span: _within(candidate, *part, scale) for span, part in cut.items() if part is not None}
        if held:
            crops = np.stack([normalise(part.ink) for part in held.values()])
            scores = yield crops
            assert scores is not None
            for (span, part), crop, likely in zip(held.items(), crops, scores.tolist(), strict=True):
                if likely >= settings.part:
                    parts[span] = part, crop, likely

    # Most ink that is no code doesn't begin or end with a digit, which is seen at once.
    for ending in (spans([0], range(1, last + 1)), spans(range(1, last), [last])):
        yield from judge(ending)
        if not any(span in parts for span in ending):
            return []
    doubt = {0: 0.0}
    way: dict[int, list[tuple[int, int]]] = {0: []}
    for a in range(last):
        if a not in doubt:
            continue
        if a:
            yield from judge(spans([a], range(a + 1, last)))
        for b in range(a + 1, last + 1):
            if (a, b) in parts:
                sum_ = doubt[a] + _doubt(parts[a, b][2], ends[a], ends[b], height, settings)
                if sum_ < doubt.get(b, np.inf):
                    doubt[b], way[b] = sum_, [*way[a], (a, b)]
    chain = [parts[span] for span in way.get(last, [])]
    if len(chain) < 2 or sum(likely for _, _, likely in chain) < settings.mean * len(chain):
        return []
    return chain


def _tall(ink: Pixels) -> float:
    """The share of its rows that hold ink."""
    return np.count_nonzero(cv2.reduce(ink, 1, cv2.REDUCE_MAX) > 100) / len(ink)


def _doubt(likely: float, left: Cut, right: Cut, height: int, settings: TouchingSettings) -> float:
    """How little a part is a digit."""
    broad = max(0.0, (right.x - left.x) / height - settings.usual)
    return -math.log(likely) + settings.breadth * broad + settings.cut + settings.crossing * right.crossed


def cuts(ink: Pixels, stroke: float, settings: TouchingSettings) -> list[Cut]:
    """Both ends, and between them lines that cross little ink; as many as digits may begin there."""
    height, width = ink.shape
    lines = []
    for slant in _SLANTS:
        shear = np.array([[1.0, -slant, slant * height / 2], [0.0, 1.0, 0.0]])
        upright = cv2.warpAffine(ink, shear, (width, height), flags=cv2.INTER_LINEAR)
        lines.append(cv2.reduce(upright, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[0])
    profile = np.stack(lines) / (255 * stroke)
    slants = profile.argmin(axis=0)
    least = profile.min(axis=0)
    cuts = [Cut(0.0, 0.0, 0.0)]
    edge, reach = max(2, round(settings.narrow * height)), max(2, round(0.13 * height))
    left = least.copy()
    left[:edge] = left[width - edge :] = np.inf
    for _ in range(max(2, round(3 * width / height))):
        x = int(left.argmin())
        if left[x] > settings.crossed:
            break
        cuts.append(Cut(float(x), _SLANTS[int(slants[x])], float(least[x])))
        left[max(x - reach, 0) : x + reach + 1] = np.inf
    return [*sorted(cuts, key=lambda cut: cut.x), Cut(float(width), 0.0, 0.0)]


def between(ink: Pixels, left: Cut, right: Cut) -> tuple[Pixels, tuple[float, float, float, float]] | None:
    """The ink between two cuts, and its box in `ink`; None where there is hardly any, or it is low."""
    height, width = ink.shape
    first = max(0, math.floor(left.x - abs(left.slant) * height / 2))
    after = min(width, math.ceil(right.x + abs(right.slant) * height / 2))
    part = ink[:, first:after].copy()
    for cut, side in ((left, -1), (right, 1)):
        if cut.slant or first < cut.x < after:
            lean = cut.slant * height / 2
            line = [(cut.x - lean - first, 0), (cut.x + lean - first, height)]
            beyond = [(line[1][0] + side * width, height), (line[0][0] + side * width, 0)]
            cv2.fillPoly(part, [np.rint([*line, *beyond]).astype(np.int32)], (0,))
    x, y, w, h = cv2.boundingRect(cv2.threshold(part, 60, 255, cv2.THRESH_BINARY)[1])
    if h < 0.5 * height or w < 2:
        return None
    # Along a slanted cut the parts' boxes overlap; they end where the cut is halfway down, nearly.
    spare = 0.08 * height
    start, end = max(first + x, left.x - spare), min(first + x + w, right.x + spare)
    return part[y : y + h, x : x + w].copy(), (start, y, end - start, h)


def _within(whole: Candidate, ink: Pixels, box: tuple[float, float, float, float], scale: float) -> Candidate:
    """A part of a candidate whose picture was scaled."""
    x, y, w, h = (round(value / scale) for value in box)
    return replace(whole, box=(whole.box[0] + x, whole.box[1] + y, max(w, 1), max(h, 1)), ink=ink)
