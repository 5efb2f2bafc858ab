"""What one may ask of the recognizer: to read given boxes, and to try another model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from messages.command import Command, Door, Result
from messages.message import Confidence
from messages.offers import Digest
from messages.vision import Box, Digit, GreyImage, ModelInfo, WhichModel


class BoxReading(Result):
    """What was read in given boxes: one digit a box, None where a box holds no ink."""

    digits: tuple[Digit | None, ...]
    probabilities: tuple[tuple[Confidence, ...], ...]
    model: ModelInfo


class RecognizerRead(Command):
    """Read dark ink on light paper in the given boxes: no tracking, no event, never on `reading`."""

    verb = "recognizer.read"
    result = BoxReading
    about = "read given boxes of a grey image: one digit each"
    doors = (Door.MQTT_OPT_IN,)

    image: GreyImage
    boxes: Annotated[tuple[Box, ...], Field(min_length=1, max_length=64)]
    model: WhichModel | None = None
    """None: the one that reads frames."""

    @model_validator(mode="after")
    def _inside(self) -> RecognizerRead:
        for box in self.boxes:
            if (
                box.x < 0
                or box.y < 0
                or box.x + box.width > self.image.width
                or box.y + box.height > self.image.height
            ):
                raise ValueError(f"box {box.x},{box.y} {box.width}×{box.height} reaches outside the image")
        return self


class TrialReport(Result):
    """How a model on trial is doing in the recognizer."""

    digest: str
    phase: Literal["loading", "reading", "failed"]
    seconds: float = 0.0
    """Since it began to read."""
    inferences: int = 0
    """Digits classified without a fault."""
    problem: str = ""
    """Why it failed."""


class RecognizerTry(Command):
    """Read with this model of the store from the next frame on, until it is adopted or dropped.

    Asked again, it tells how the trial is going. A trial that nobody asks after for some seconds is dropped.
    With `renew` only a trial that is on already goes on: a recognizer that was restarted refuses.
    """

    verb = "recognizer.try"
    result = TrialReport
    about = "read with a model on trial (for the updater)"

    bundle: Digest
    renew: bool = False


class RecognizerModel(Result):
    model: ModelInfo


class RecognizerAdopt(Command):
    """The active model is this one now: the one on trial, or another one of the store."""

    verb = "recognizer.adopt"
    result = RecognizerModel
    about = "read with the active model (for the updater)"

    bundle: Digest


class RecognizerDrop(Command):
    """End a trial, if there is one: back to the model before."""

    verb = "recognizer.drop"
    result = RecognizerModel
    about = "end a trial (for the updater)"
