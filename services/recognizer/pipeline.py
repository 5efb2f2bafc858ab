"""From a picture to the lines in it: the eye finds digits, the model names them, geometry groups them.

reader = Reader(TestTimeAveragingClassifier(bundle), Eye.of(bundle))
for line in reader.read(frame):
    print(line.text, line.confidence, line.box)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from models.eye.decoding import SeenDigit
from models.eye.eye import TINY_SIDE, Eye, as_grey, merged
from models.geometry import BoundingBox
from models.inference.gate import Gate
from models.inference.normalise import normalise
from services.recognizer.reading import UNREADABLE, Line, ReadDigit, lines_of

Pixels = NDArray[np.uint8]


class DigitClassifier(Protocol):
    """What the reader asks of a model."""

    @property
    def labels(self) -> Sequence[str]:
        """What its columns stand for."""

    def classify(self, crops: Pixels) -> NDArray[np.float32]:
        """(n, 28, 28) uint8 in, (n, labels) calibrated probabilities out."""


_SEEN = 0.1
"""What the eye's score times the model's confidence must reach for a digit to be seen: its worth."""
_SURE, _SURE_OF_PHOTO = 0.25, 0.18
"""What the mean worth of a line's digits must reach, times how much they look like digits to the gate.

Most frames of a camera hold no digits; a photo that somebody gives to be read does.
"""
_END = 0.2
"""What the first and last digit of a line must be like a digit, as a part of what the likeliest is."""
_UNGATED = 0.5
"""The gate takes no more of it than this."""
_CELL = 1.4
"""A tiny picture of at most this aspect is a cell cut from a photo: it holds one digit, which may fill it."""
_OVERVIEW, _DETAIL = (640, 320), (1120,)
"""Longer sides, in pixels, at which a photo is looked at first, and then the right way up."""
_WAYS_UP = {1: 1.5, 3: 1.5, 2: 1.2}
"""Quarters that a photo may be turned by, and how many times more sense it must make so."""
_PLAUSIBLE, _CONVINCING = 0.33, 0.6
"""How much sense digits make, on average: below the first a turned photo is not believed, above the second an
upright one is not turned."""


@dataclass(frozen=True, eq=False)
class _Reading:
    """The lines of a picture; `sense` is how much the digits look like digits, added up."""

    lines: list[Line]
    sense: float

    @property
    def digits(self) -> int:
        """How many there are in all lines."""
        return sum(len(line.digits) for line in self.lines)


class Reader:
    """Reads the handwritten lines of a picture. Not for use by two threads at once."""

    def __init__(
        self,
        classifier: DigitClassifier,
        eye: Eye | None = None,
        *,
        certainty: float = 0.7,
        min_digits: int = 1,
    ) -> None:
        """A digit less sure than `certainty` is read as `?`; a line of fewer than `min_digits` is left out.

        Without an `eye` the shipped one finds the digits. Raises EyeError, GateError where a shipped network
        can't be used.
        """
        self.classifier = classifier
        self.certainty = certainty
        self.min_digits = min_digits
        self._eye = eye or Eye.of()
        self._gate = Gate()

    def read(self, frame: Pixels) -> list[Line]:
        """The lines in a BGR (h, w, 3) or grey (h, w) picture, from top to bottom; boxes in its pixels."""
        return (
            self._cell(frame)
            if _is_cell(frame)
            else self._reading([[digit] for digit in self._eye.glance(frame)]).lines
        )

    def read_any_way_up(self, picture: Pixels) -> list[Line]:
        """As `read`, in several looks, a photo that may lie on its side or stand on its head."""
        if _is_cell(picture):
            return self._cell(picture)
        grey = as_grey(picture)
        scale = min(1.0, max(_DETAIL) / max(grey.shape))
        if scale < 1:
            grey = np.asarray(
                cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
            )
        looks = self._eye.search(grey, _OVERVIEW)
        upright = self._reading(merged(looks), _SURE_OF_PHOTO)
        turns, most = 0, 0.0
        if upright.sense < _CONVINCING * max(3, upright.digits):
            for quarters, times in _WAYS_UP.items():
                others = self._eye.search(_turned(grey, quarters), _OVERVIEW[:1])
                turned = self._reading(merged(others))
                if turned.sense < _PLAUSIBLE * turned.digits:
                    continue
                if turned.sense > max(times * upright.sense + 1, most):
                    looks, turns, most = others, quarters, turned.sense
        if max(grey.shape) > max(_OVERVIEW):
            looks = [*looks, *self._eye.search(_turned(grey, turns), _DETAIL)]
        lines = self._reading(merged(looks), _SURE_OF_PHOTO).lines
        return [_placed(line, turns, scale, picture.shape) for line in lines]

    def _cell(self, cell: Pixels) -> list[Line]:
        """The one digit of a cell: the one that the looks agree on."""
        seen = merged(self._eye.examine(cell))
        if not seen or self.min_digits > 1:
            return []
        probabilities, worth = self._named(seen, _crops(seen))
        best = int(worth.argmax())
        return [Line((self._digit(probabilities[best], seen[best][0].box),))]

    def _named(
        self, seen: Sequence[Sequence[SeenDigit]], crops: Sequence[Sequence[Pixels]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the model says of each digit (n, labels), and its worth (n,): that times the eye's score.

        A digit that was seen in several looks is named by all, the surer ones weighing more.
        """
        views = [view for views in seen for view in views]
        answers = self.classifier.classify(np.stack([crop for each in crops for crop in each]))
        scores = np.array([view.score for view in views], np.float32)
        weights = (scores * answers.max(axis=1)) ** 2
        starts = np.cumsum([0, *(len(views) for views in seen[:-1])])
        strength = np.add.reduceat(weights, starts)
        probabilities = np.add.reduceat(weights[:, None] * answers, starts) / strength[:, None]
        worth = np.maximum.reduceat(scores, starts) * probabilities.max(axis=1)
        return probabilities.astype(np.float32), worth.astype(np.float32)

    def _reading(self, seen: Sequence[Sequence[SeenDigit]], sure: float = _SURE) -> _Reading:
        seen = [views for views in seen if views[0].score >= _SEEN]
        if not seen:
            return _Reading([], 0.0)
        crops = _crops(seen)
        gate = self._gate.score(np.stack([first for first, *_ in crops]))
        if max(views[0].score for views in seen) * math.sqrt(gate.max()) < sure:
            return _Reading([], 0.0)  # no line reaches that, whatever the model says
        probabilities, worth = self._named(seen, crops)
        rows = self._rows(seen, worth, gate, sure)
        lines = [
            Line(tuple(self._digit(probabilities[index], seen[index][0].box) for index in row))
            for row in rows
        ]
        sense = worth * probabilities.max(axis=1) ** 2  # a model is less sure of digits on their side
        return _Reading(lines, float(sum(sense[row].sum() for row in rows)))

    def _rows(
        self,
        seen: Sequence[Sequence[SeenDigit]],
        worth: NDArray[np.float32],
        gate: NDArray[np.float32],
        sure: float,
    ) -> list[list[int]]:
        """The lines, each the indices of its digits, from left to right.

        A line is judged as a whole, so that none of its digits is left out; but what is far less like a digit
        than the others and stands at its end, a card's edge, isn't part of it.
        """
        possible = np.flatnonzero(worth >= _SEEN)
        kept, gate = worth[possible], gate[possible]
        rows = []
        for row in lines_of([seen[index][0].box for index in possible.tolist()]):
            alike = kept[row] * np.maximum(np.sqrt(gate[row]), _UNGATED)
            surely = np.flatnonzero(alike >= _END * alike.max()).tolist()
            row = row[surely[0] : surely[-1] + 1]
            if kept[row].mean() * math.sqrt(gate[row].mean()) >= sure and len(row) >= self.min_digits:
                rows.append(possible[row].tolist())
        return rows

    def _digit(self, probabilities: NDArray[np.float32], box: BoundingBox) -> ReadDigit:
        """The likeliest digit; one less sure than `certainty` as `?`."""
        second, first = (int(index) for index in np.argsort(probabilities)[-2:])
        labels, confidence = self.classifier.labels, min(float(probabilities[first]), 1.0)
        return ReadDigit(
            label=labels[first] if confidence >= self.certainty else UNREADABLE,
            confidence=confidence,
            runner_up=labels[second],
            runner_up_confidence=min(float(probabilities[second]), 1.0),
            box=box,
        )


def _crops(seen: Sequence[Sequence[SeenDigit]]) -> list[list[Pixels]]:
    """Each view's ink as the gate and the model take it."""
    return [[normalise(view.ink) for view in views] for views in seen]


def _is_cell(picture: Pixels) -> bool:
    shorter, longer = sorted(picture.shape[:2])
    return bool(longer <= min(TINY_SIDE, _CELL * shorter))


def _turned(picture: Pixels, quarters: int) -> Pixels:
    """The picture (h, w) turned counter-clockwise by so many quarters."""
    return np.ascontiguousarray(np.rot90(picture, quarters))


def _placed(line: Line, turns: int, scale: float, shape: tuple[int, ...]) -> Line:
    """A line of a picture (h, w) that was scaled and turned by so many quarters, in pixels of the picture."""
    height, width = (round(side * scale) for side in shape[:2])
    digits = []
    for digit in line.digits:
        x, y, w, h = digit.box
        box = {0: (x, y, w, h), 1: (width - y - h, x, h, w), 2: (width - x - w, height - y - h, w, h)}.get(
            turns, (y, height - x - w, h, w)
        )
        left, top, w, h = (round(side / scale) for side in box)
        digits.append(replace(digit, box=(left, top, max(1, w), max(1, h))))
    return Line(tuple(digits))
