"""From a picture to the codes in it: locate, normalise, gate, group, classify."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from models.geometry import BoundingBox
from models.inference.gate import Gate
from models.inference.normalise import normalise
from services.recognizer.doubt import DoubtSettings, codes_among, digit_in_cell
from services.recognizer.locate import LocateSettings, locate
from services.recognizer.reading import UNREADABLE, GroupSettings, Line, ReadDigit
from services.recognizer.touching import TouchingSettings, parted

Pixels = NDArray[np.uint8]


class DigitClassifier(Protocol):
    """What the reader asks of a model."""

    @property
    def labels(self) -> Sequence[str]:
        """What its columns stand for."""

    def classify(self, crops: Pixels) -> NDArray[np.float32]:
        """(n, 28, 28) uint8 in, (n, labels) calibrated probabilities out."""


_LARGEST_SIDE = 1280
"""Larger pictures are read at this size."""
_TINY_SIDE = 160
"""Smaller pictures are enlarged."""
_CELL = 1.4
"""A tiny picture of at most this aspect is a cell cut from a photo: one digit, that may fill it."""
_IN_A_CELL = LocateSettings(
    min_height=40,
    max_height=0.97,
    ground=61,
    border=2,
    keep_touching=True,
    widest=1.6,
    levels=6,
    rise=1.45,
    most=12,
)


class Reader:
    """Reads the handwritten codes of a picture. Not for use by two threads at once."""

    def __init__(
        self,
        classifier: DigitClassifier,
        *,
        certainty: float = 0.7,
        min_digits: int = 1,
        locating: LocateSettings | None = None,
        grouping: GroupSettings | None = None,
        doubting: DoubtSettings | None = None,
        touching: TouchingSettings | None = None,
    ) -> None:
        """A digit less sure than `certainty` is read as `?`; a line of fewer than `min_digits` is left out.

        Raises models.inference.gate.GateError where the gate's file can't be used.
        """
        self.classifier = classifier
        self.certainty = certainty
        self.min_digits = min_digits
        self.locating = locating or LocateSettings()
        self.grouping = grouping or GroupSettings()
        self.doubting = doubting or DoubtSettings()
        self.touching = touching or TouchingSettings()
        self._gate = Gate()

    def read(self, frame: Pixels) -> list[Line]:
        """The codes in a BGR (h, w, 3) or grey (h, w) picture, from top to bottom; boxes in its pixels."""
        scale = _scale(frame)
        picture = frame
        if scale != 1:
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            picture = np.asarray(
                cv2.resize(frame, None, fx=scale, fy=scale, interpolation=how), dtype=np.uint8
            )
        cell = scale > 1 and max(frame.shape[:2]) <= _CELL * min(frame.shape[:2])
        candidates = locate(picture, _IN_A_CELL if cell else self.locating)
        if not candidates:
            return []
        crops = np.stack([normalise(candidate.ink) for candidate in candidates])
        scores = self._gate.score(crops)
        if cell:
            codes = digit_in_cell(candidates, scores, picture.shape[:2], self.doubting)
        else:
            parts = parted(candidates, scores, self._gate.score, self.touching)
            if parts:
                candidates = [*candidates, *(part for part, _, _ in parts)]
                crops = np.concatenate([crops, np.stack([crop for _, crop, _ in parts])])
                scores = np.append(scores, np.array([score for _, _, score in parts], np.float32))
            codes = codes_among(candidates, scores, self.grouping, self.doubting)
        codes = [code for code in codes if len(code) >= self.min_digits]
        if not codes:
            return []
        chosen = [index for code in codes for index in code]
        boxes = [_scaled(candidates[index].box, 1 / scale) for index in chosen]
        unread = scores[chosen] < self.doubting.possible if not cell else np.zeros(len(chosen), bool)
        digits = iter(self._digits(self.classifier.classify(crops[chosen]), unread, boxes))
        lines = [Line(tuple(next(digits) for _ in code)) for code in codes]
        return [line for line in lines if line.text.strip(UNREADABLE)]

    def read_any_way_up(self, picture: Pixels) -> list[Line]:
        """As `read`, a photo that may lie on its side: the way that reads best; boxes in its own pixels."""
        best = self.read(picture)
        most = _sense(best)
        if most > 4 and most > 0.7 * sum(len(line.digits) for line in best):
            return best
        for turns, turn in ((1, cv2.ROTATE_90_COUNTERCLOCKWISE), (3, cv2.ROTATE_90_CLOCKWISE)):
            lines = self.read(np.asarray(cv2.rotate(picture, turn), dtype=np.uint8))
            if _sense(lines) > 1.5 * most + 1:
                best, most = [_turned_back(line, turns, picture.shape) for line in lines], _sense(lines)
        return best

    def _digits(
        self, probabilities: NDArray[np.float32], unread: NDArray[np.bool_], boxes: Sequence[BoundingBox]
    ) -> list[ReadDigit]:
        """Rows of probabilities as digits; those less sure than `certainty`, and those `unread`, as `?`."""
        order = np.argsort(probabilities, axis=1)[:, ::-1]
        labels = self.classifier.labels
        digits = []
        for row, none, (first, second), box in zip(probabilities, unread, order[:, :2], boxes, strict=True):
            confidence = min(float(row[first]), 1.0)
            digits.append(
                ReadDigit(
                    label=labels[first] if confidence >= self.certainty and not none else UNREADABLE,
                    confidence=confidence,
                    runner_up=labels[second],
                    runner_up_confidence=min(float(row[second]), 1.0),
                    box=box,
                )
            )
        return digits


def _sense(lines: Sequence[Line]) -> float:
    """How many digits were read in company, each as far as its line is sure."""
    return sum(len(line.digits) * line.confidence for line in lines if len(line.digits) > 1)


def _turned_back(line: Line, turns: int, shape: tuple[int, ...]) -> Line:
    """The line of a picture turned counter-clockwise so many quarters, in pixels of the picture as it was."""
    height, width = shape[:2]
    digits = []
    for digit in line.digits:
        x, y, w, h = digit.box
        box = (width - y - h, x, h, w) if turns == 1 else (y, height - x - w, h, w)
        digits.append(replace(digit, box=box))
    return Line(tuple(digits))


def _scale(frame: Pixels) -> float:
    longer = max(frame.shape[:2])
    if longer > _LARGEST_SIDE:
        return _LARGEST_SIDE / float(longer)
    if 0 < longer < _TINY_SIDE:
        return float(math.ceil(1.2 * _TINY_SIDE / longer))
    return 1.0


def _scaled(box: BoundingBox, scale: float) -> BoundingBox:
    if scale == 1:
        return box
    x, y, w, h = (value * scale for value in box)
    return round(x), round(y), max(1, round(w)), max(1, round(h))
