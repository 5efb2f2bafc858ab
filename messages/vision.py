"""What is seen and what is read in it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from messages.message import Confidence, Message, Millis, Part
from messages.topics import Mirror, Topic, TopicKind

MAX_IMAGE_PIXELS = 4 << 20
UNREADABLE = "?"
"""The label of a digit that the recognizer is not sure of."""


class Box(Part):
    """A rectangle in frame pixels; (x, y) is its upper left corner."""

    x: int
    y: int
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class GreyImage(BaseModel):
    """Pixels in rows from the top, one byte each, 0 black."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    width: Annotated[int, Field(gt=0, le=8192)]
    height: Annotated[int, Field(gt=0, le=8192)]
    pixels: bytes

    @model_validator(mode="after")
    def _complete(self) -> GreyImage:
        wanted = self.width * self.height
        if wanted > MAX_IMAGE_PIXELS:
            raise ValueError(f"an image of {wanted} pixels; {MAX_IMAGE_PIXELS} are allowed")
        if len(self.pixels) != wanted:
            raise ValueError(f"{len(self.pixels)} pixels came; {self.width}×{self.height} are {wanted}")
        return self


class FrameReady(Message):
    """A frame stands in the ring: where, and when its light fell in."""

    frame_id: int
    captured_ns: int
    view: str
    ring: str
    slot: int
    generation: int
    height: int
    width: int


class ModelInfo(Part):
    """Which model said it. `digest` is the SHA-256 of its manifest, in hex."""

    name: str
    version: str
    digest: str


WhichModel = Literal["active", "candidate"] | Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""One of two that read side by side: the active one, the one on trial; or by its digest any of the store."""


class Digit(Part):
    """One digit: its label, how sure that is, and what it would have been otherwise."""

    label: Annotated[str, Field(pattern=r"^[0-9?]$")]
    confidence: Confidence
    runner_up: Annotated[str, Field(pattern=r"^[0-9]$")]
    runner_up_confidence: Confidence
    box: Box


class Code(Part):
    """Digits that stand in one line, in reading order."""

    text: Annotated[str, Field(pattern=r"^[0-9?]+$")]
    confidence: Confidence
    box: Box
    digits: tuple[Digit, ...]


class Reading(Message):
    """All that was read in one frame."""

    frame_id: int
    captured_ns: int
    width: int
    height: int
    codes: tuple[Code, ...]
    model: ModelInfo
    latency_ms: Annotated[Millis, Field(description="from capture to reading")]


class ReadingImage(Message):
    """The picture in which an event was decided, small, as a JPEG."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    event_id: str
    text: str
    width: int
    height: int
    jpeg: Annotated[bytes, Field(max_length=256 << 10)]


class ReadingEvent(Message):
    """A code came into view (`new`), was corrected (`update`) or left (`end`). One `event_id` a sign."""

    event_id: str
    phase: Literal["new", "update", "end"]
    end_reason: Literal["", "gone", "interrupted"] = ""
    text: Annotated[str, Field(pattern=r"^[0-9?]+$")]
    confidence: Confidence
    digit_confidences: tuple[Confidence, ...]
    first_seen: datetime
    last_seen: datetime
    frames: int
    frame_id: int
    box: Box
    model: ModelInfo
    latency_ms: Annotated[Millis, Field(description="from capture of the deciding frame to this event")]


FRAME = Topic(
    "frame",
    FrameReady,
    TopicKind.STATE,
    "a frame stands in the ring",
    hertz=30.0,
)

READING = Topic(
    "reading",
    Reading,
    TopicKind.STATE,
    "all that was read in one frame",
    hertz=30.0,
    mirror=Mirror("state/reading", qos=1, retain=True, max_hertz=2.0, on_change_of=("codes",)),
)

READING_EVENT = Topic(
    "reading.event",
    ReadingEvent,
    TopicKind.EVENT,
    "a code came into view, was corrected, left",
    journalled=True,
    mirror=Mirror("event/reading", qos=1, retain=False),
)

READING_IMAGE = Topic(
    "reading.image",
    ReadingImage,
    TopicKind.STATE,
    "the picture in which the last event was decided",
    mirror=Mirror("image/reading", qos=0, retain=True, payload_field="jpeg"),
)
