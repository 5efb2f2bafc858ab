"""What one may ask of the drawing pad."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from messages.command import Command, Door, Result
from messages.message import Confidence, new_ulid
from messages.pad import (
    BOXES,
    Author,
    BoxDigit,
    Brush,
    PadStroke,
    Points,
    StrokeId,
)
from messages.vision import GreyImage, ModelInfo, WhichModel

MAX_STROKES = 400
MAX_SEED = 2**32 - 1


class PadDone(Result):
    """The canvas as it is after the command."""

    revision: int


class PadStrokeCommand(Command):
    """Draw: a whole stroke at once, or point by point while the pen moves, under one stroke id.

    A stroke that is begun and not extended for two seconds is finished as it stands. `cancel` takes one's own
    stroke away again, as if it had never been: a palm on the glass.
    """

    verb = "pad.stroke"
    result = PadDone
    about = "draw a stroke: whole, or begin, extend, end; or cancel it"
    doors = Door.PAGE, Door.MQTT

    phase: Literal["whole", "begin", "extend", "end", "cancel"] = "whole"
    stroke: StrokeId = Field(default_factory=new_ulid)
    author: Author = "anyone"
    brush: Brush | None = None
    points: Points = ()

    @model_validator(mode="after")
    def _starts_somewhere(self) -> PadStrokeCommand:
        if self.phase in ("whole", "begin") and not self.points:
            raise ValueError("a stroke begins with at least one point")
        return self


class PadUndo(Command):
    verb = "pad.undo"
    result = PadDone
    about = "take back the last thing done, or the last that this author did"
    doors = Door.PAGE, Door.MQTT

    author: Author | None = None


class PadErase(Command):
    """Box 1 is the leftmost; its whole column of the canvas is cleared. Without a box: everything."""

    verb = "pad.erase"
    result = PadDone
    about = "erase everything, or one box (1 to 5)"
    doors = Door.PAGE, Door.MQTT

    box: Annotated[int, Field(ge=1, le=BOXES)] | None = None
    author: Author = "anyone"


class PadReading(Result):
    """What was read: `digits` has the text's five characters with their confidences."""

    revision: int
    text: str
    digits: tuple[BoxDigit, ...]
    model: ModelInfo | None = None


class PadRecognize(Command):
    """With `model` the same strokes are read by another model, for comparison alone: it is no result."""

    verb = "pad.recognize"
    result = PadReading
    about = "read the five boxes now"
    doors = Door.PAGE, Door.MQTT

    model: WhichModel | None = None


class PadWritten(Result):
    """The same digits with the same seed give the same strokes."""

    revision: int
    seed: int


class PadWrite(Command):
    """Digits from the first box on, by a natural hand; `-` passes over a box. What stood there goes."""

    verb = "pad.write"
    result = PadWritten
    about = "write digits by hand, from the first box on"
    doors = Door.PAGE, Door.MQTT

    digits: Annotated[str, Field(pattern=rf"^[0-9-]{{1,{BOXES}}}$")]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    author: Author = "anyone"


class PadPlay(Command):
    """Erase, draw, read, in one go: no other hand comes between."""

    verb = "pad.play"
    result = PadReading
    about = "erase, draw these strokes and read them, in one go"
    doors = (Door.MQTT_OPT_IN,)

    strokes: Annotated[tuple[Points, ...], Field(max_length=MAX_STROKES)]
    brush: Brush | None = None
    author: Author = "anyone"

    @model_validator(mode="after")
    def _no_stroke_is_empty(self) -> PadPlay:
        for number, points in enumerate(self.strokes, 1):
            if not points:
                raise ValueError(f"stroke {number} has no points")
        return self


class BoxView(Result):
    """One box as the model sees it: the crop, and the probability of each digit from 0 to 9.

    An empty box has a black crop and no probabilities.
    """

    crop: GreyImage
    probabilities: tuple[Confidence, ...]
    digit: BoxDigit


class PadViews(Result):
    revision: int
    boxes: tuple[BoxView, ...]
    model: ModelInfo | None = None


class PadShow(Command):
    verb = "pad.show"
    result = PadViews
    about = "show the five crops as the model sees them, with the ten probabilities of each"
    doors = Door.PAGE, Door.MQTT


class PadBrush(Command):
    verb = "pad.brush"
    result = PadDone
    about = "set the brush's radius for all hands, in pixels"
    doors = Door.PAGE, Door.MQTT

    radius: Brush


class PadAutomatic(Command):
    verb = "pad.automatic"
    result = PadDone
    about = "read while somebody draws: on or off"
    doors = Door.PAGE, Door.MQTT

    on: bool


class PadStrokes(Result):
    revision: int
    strokes: tuple[PadStroke, ...]


class PadSave(Command):
    verb = "pad.save"
    result = PadStrokes
    about = "all strokes on the canvas"
    doors = (Door.MQTT_OPT_IN,)
