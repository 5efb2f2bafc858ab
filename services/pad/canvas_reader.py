"""Asks the recognizer to read the canvas, without waiting, and interprets its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from messages.command import Reply
from messages.pad import BOXES, EMPTY, UNREADABLE, BoxDigit, inside
from messages.presence import Presence
from messages.recognizer_commands import BoxReading, RecognizerRead
from messages.rpc.clients import Ask
from messages.vision import Box, Digit, GreyImage, ModelInfo, WhichModel
from models.inference.normalise import SIDE, normalise

Ink = NDArray[np.uint8]

DEADLINE_S = 1.5

_FIRST, _LAST = inside(0), inside(BOXES - 1)
_ROW = Box(x=_FIRST.x, y=_FIRST.y, width=_LAST.x + _LAST.width - _FIRST.x, height=_FIRST.height)
"""The part of the canvas that the recognizer gets: the five boxes and what is between them."""
_BOXES = tuple(
    Box(x=inside(index).x - _ROW.x, y=0, width=_FIRST.width, height=_FIRST.height) for index in range(BOXES)
)


@dataclass(frozen=True)
class Answer:
    """What the boxes of one state of the canvas hold. `probabilities` are empty for an empty box."""

    digits: tuple[BoxDigit, ...]
    probabilities: tuple[tuple[float, ...], ...] = ((),) * BOXES
    model: ModelInfo | None = None
    problem: str = ""

    @property
    def text(self) -> str:
        return "".join(digit.label for digit in self.digits)


class CanvasReader:
    """Asks `recognizer.read`. What it is shown is a copy: the canvas may change meanwhile."""

    def __init__(self, ask: Ask, recognizer: Presence) -> None:
        self._ask = ask
        self._recognizer = recognizer

    def read(self, ink: Ink, answered: Callable[[Answer], None], model: WhichModel | None = None) -> None:
        """Have a canvas read: `answered` is called once, at once where nobody need be asked."""
        inks = [_within(ink, inside(index)) for index in range(BOXES)]
        inked = [bool(each.any()) for each in inks]
        if not any(inked):
            answered(Answer((_EMPTY,) * BOXES))
            return
        if not self._recognizer.is_there:
            answered(_unread(inked, "The recognizer is not running; see `smartcar status`."))
            return
        paper = 255 - _within(ink, _ROW)
        image = GreyImage(width=_ROW.width, height=_ROW.height, pixels=paper.tobytes())
        command = RecognizerRead(image=image, boxes=_BOXES, model=model)
        self._ask(command, lambda reply: answered(_understood(reply, inked)), DEADLINE_S)


def crops(ink: Ink) -> list[Ink]:
    """The five boxes of a canvas as the model gets them, each (28, 28) uint8."""
    return [normalise(_within(ink, inside(index))) for index in range(BOXES)]


def grey(crop: Ink) -> GreyImage:
    return GreyImage(width=SIDE, height=SIDE, pixels=crop.tobytes())


_EMPTY = BoxDigit(label=EMPTY, confidence=1.0)


def _understood(reply: Reply, inked: Sequence[bool]) -> Answer:
    if reply.error is not None:
        return _unread(inked, f"The boxes could not be read: {reply.error.message}")
    try:
        reading = BoxReading.model_validate(reply.data)
    except ValueError:
        return _unread(inked, "The recognizer answered something unreadable; is it of another version?")
    if len(reading.digits) != BOXES or len(reading.probabilities) != BOXES:
        return _unread(inked, "The recognizer did not answer for every box; is it of another version?")
    return Answer(
        tuple(_digit(digit, ink) for digit, ink in zip(reading.digits, inked, strict=True)),
        reading.probabilities,
        reading.model,
    )


def _digit(digit: Digit | None, inked: bool) -> BoxDigit:
    if digit is None:  # no contrast: nothing in it, or nothing but ink
        return BoxDigit(label=UNREADABLE, confidence=0.0) if inked else _EMPTY
    return BoxDigit(
        label=digit.label,
        confidence=digit.confidence,
        runner_up=digit.runner_up,
        runner_up_confidence=digit.runner_up_confidence,
    )


def _unread(inked: Sequence[bool], problem: str) -> Answer:
    unread = BoxDigit(label=UNREADABLE, confidence=0.0)
    return Answer(tuple(unread if ink else _EMPTY for ink in inked), problem=problem)


def _within(ink: Ink, box: Box) -> Ink:
    return np.ascontiguousarray(ink[box.y : box.y + box.height, box.x : box.x + box.width])
