"""The pad's answers to commands that ask what is in its boxes."""

from __future__ import annotations

from collections.abc import Sequence

from messages.pad_commands import BoxView, PadReading, PadViews
from services.pad.canvas_reader import Answer, Ink, grey


def reading_of(revision: int, answer: Answer) -> PadReading:
    return PadReading(revision=revision, text=answer.text, digits=answer.digits, model=answer.model)


def views_of(boxes: Sequence[Ink], revision: int, answer: Answer) -> PadViews:
    """The digits with the crops `boxes` in which they were read, (28, 28) uint8 each."""
    return PadViews(
        revision=revision,
        model=answer.model,
        boxes=tuple(
            BoxView(crop=grey(crop), probabilities=probabilities, digit=digit)
            for crop, probabilities, digit in zip(boxes, answer.probabilities, answer.digits, strict=True)
        ),
    )
