"""Reading given boxes: no locating, no tracking; each box holds one digit, or none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from messages.recognizer_commands import BoxReading, RecognizerRead
from messages.vision import UNREADABLE, Box, Digit, ModelInfo
from models.inference.gate import Gate
from models.inference.normalise import SIDE, normalise
from models.inference.runtime import Classifier

INK_CONTRAST = 32
"""With less between ink and paper, of 255, a box is empty."""
SCRIBBLE = 0.03
"""Ink that the gate takes for a digit with less is a scribble: `?`, however sure the model is."""


class BoxReader:
    """Reads dark ink on light paper in boxes that someone else knows. Not for use by two threads at once."""

    def __init__(self, classifier: Classifier, model: ModelInfo, certainty: float) -> None:
        """A digit less sure than `certainty` is `?`. Raises models.inference.gate.GateError."""
        self._classifier = classifier
        self._model = model
        self._certainty = certainty
        self._gate = Gate()

    def read(self, command: RecognizerRead) -> BoxReading:
        """A digit for each box; None, and no probabilities, for a box without ink.

        Raises models.inference.runtime.ModelError where the model's answer can't be used.
        """
        image = command.image
        grey = np.frombuffer(image.pixels, np.uint8).reshape(image.height, image.width)
        inks: dict[int, NDArray[np.uint8]] = {}
        for index, box in enumerate(command.boxes):
            ink = ink_in(grey[box.y : box.y + box.height, box.x : box.x + box.width])
            if ink is not None:
                inks[index] = ink
        crops = np.zeros((len(inks), SIDE, SIDE), np.uint8)
        for place, ink in enumerate(inks.values()):
            crops[place] = normalise(ink)
        digits: list[Digit | None] = [None] * len(command.boxes)
        probabilities: list[tuple[float, ...]] = [()] * len(command.boxes)
        answers = zip(inks, self._classifier.classify(crops), self._gate.score(crops), strict=True)
        for index, row, score in answers:
            digits[index] = self._digit(row, float(score), command.boxes[index])
            probabilities[index] = tuple(min(float(value), 1.0) for value in row)
        return BoxReading(digits=tuple(digits), probabilities=tuple(probabilities), model=self._model)

    def _digit(self, row: NDArray[np.float32], score: float, box: Box) -> Digit:
        second, first = (int(index) for index in np.argsort(row)[-2:])
        labels = self._classifier.labels
        confidence = min(float(row[first]), 1.0)
        return Digit(
            label=labels[first] if confidence >= self._certainty and score >= SCRIBBLE else UNREADABLE,
            confidence=confidence,
            runner_up=labels[second],
            runner_up_confidence=min(float(row[second]), 1.0),
            box=box,
        )


def ink_in(paper: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Dark ink on light paper, (h, w) uint8, turned into bright ink on black; None where there is none."""
    ink = int(paper.max()) - paper
    return ink if int(ink.max()) >= INK_CONTRAST else None
