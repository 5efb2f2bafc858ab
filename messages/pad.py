"""The drawing pad: its canvas, the strokes on it, and what is read in its boxes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from messages.message import Confidence, Message, Millis, Part
from messages.topics import Mirror, Topic, TopicKind
from messages.vision import Box, ModelInfo

WIDTH, HEIGHT = 520, 200
"""The canvas, in pixels."""
BOXES = 5
MIN_BRUSH, BRUSH, MAX_BRUSH = 1, 4, 12
"""The brush's radius in pixels: least, at first, most."""
MAX_STROKE_POINTS = 1000
MAX_CANVAS_POINTS = 4000
MAX_CANVAS_BYTES = 64 << 10
"""Of a PadCanvas as JSON; a canvas takes no more strokes than fit."""
EMPTY, UNREADABLE = "-", "?"

_LEFT, _TOP, _SIDE = 10, 50, 100


def box(index: int) -> Box:
    """The frame of box `index`, 0 to 4 from the left, in canvas pixels."""
    return Box(x=_LEFT + _SIDE * index, y=_TOP, width=_SIDE, height=_SIDE)


def inside(index: int) -> Box:
    """What is read of box `index`: all within its frame."""
    frame = box(index)
    return Box(x=frame.x + 1, y=frame.y + 1, width=frame.width - 2, height=frame.height - 2)


def _on_canvas(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    for number, (x, y) in enumerate(points, 1):
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
            raise ValueError(
                f"point {number} ({x:g}, {y:g}) lies outside the canvas of {WIDTH}×{HEIGHT} pixels"
            )
    return points


Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Points = Annotated[
    tuple[tuple[Coordinate, Coordinate], ...], Field(max_length=MAX_STROKE_POINTS), AfterValidator(_on_canvas)
]
"""x to the right and y downwards, in canvas pixels: 0 ≤ x < 520, 0 ≤ y < 200."""
Author = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Whose hand it is, so that each undoes its own."""
StrokeId = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[\x21-\x7e]+$")]
Brush = Annotated[int, Field(ge=MIN_BRUSH, le=MAX_BRUSH)]


class PadStroke(Part):
    """A stroke on the canvas: the pen's way from where it was set down to where it was lifted."""

    id: str
    author: str
    brush: int
    began: datetime
    points: tuple[tuple[float, float], ...]
    finished: bool = True


class PadChange(Message):
    """What was just done to the canvas, published as it happens.

    From one canvas to the next: where `clear`, all strokes go, else those in `removed`; then those in `added`
    come; then `points` are put to the end of stroke `stroke`, and `finished` says whether its pen was lifted.
    `revision` counts up by one with every change of one run of the service.
    """

    revision: int
    kind: Literal["begin", "extend", "end", "draw", "erase", "undo", "write", "play"]
    author: str
    clear: bool = False
    removed: tuple[str, ...] = ()
    added: tuple[PadStroke, ...] = ()
    stroke: str = ""
    points: tuple[tuple[float, float], ...] = ()
    finished: bool = False


class PadCanvas(Message):
    """The whole canvas: for whoever joins late. `text` is what was last read, revision `read_revision`."""

    revision: int
    width: int = WIDTH
    height: int = HEIGHT
    brush: int
    automatic: Annotated[bool, Field(description="whether it is read while somebody draws")]
    text: str
    read_revision: int
    strokes: tuple[PadStroke, ...]


class BoxDigit(Part):
    """One box: `-` where it is empty (and that is certain), `?` where it is doubtful."""

    label: Annotated[str, Field(pattern=r"^[0-9?-]$")]
    confidence: Confidence
    runner_up: Annotated[str, Field(pattern=r"^[0-9]?$")] = ""
    runner_up_confidence: Confidence = 0.0


class PadResult(Message):
    """What stands in the five boxes, from the left.

    `problem` says why it could not be read, and then boxes with ink are `?`.
    """

    event_id: str
    revision: int
    text: Annotated[str, Field(pattern=r"^[0-9?-]{5}$")]
    digits: tuple[BoxDigit, ...]
    automatic: Annotated[bool, Field(description="false: somebody asked for it")]
    model: ModelInfo | None = None
    problem: str = ""
    latency_ms: Annotated[Millis, Field(description="from the change, or the question, to this result")]


PAD_STROKE = Topic(
    "pad.stroke",
    PadChange,
    TopicKind.EVENT,
    "what was just drawn, erased or undone on the pad",
)

PAD_CANVAS = Topic(
    "pad.canvas",
    PadCanvas,
    TopicKind.STATE,
    "the whole canvas of the pad",
    mirror=Mirror(
        "state/pad",
        qos=1,
        retain=True,
        max_hertz=1.0,
        on_change_of=("revision", "text", "brush", "automatic"),
    ),
)

PAD_READING = Topic(
    "pad.reading",
    PadResult,
    TopicKind.STATE,
    "what stands in the pad's boxes now, while somebody draws",
)

PAD_RESULT = Topic(
    "pad.result",
    PadResult,
    TopicKind.EVENT,
    "what was read on the pad: asked for, or once the hand rests",
    journalled=True,
    mirror=Mirror("event/pad", qos=1, retain=False),
)
