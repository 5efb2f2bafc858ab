"""What the recognizer says: its lines and events as messages of the bus."""

from __future__ import annotations

import time
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from messages.vision import Box, Code, Digit, FrameReady, ModelInfo, Reading, ReadingEvent, ReadingImage
from models.geometry import BoundingBox
from services.recognizer.reading import Line
from services.recognizer.track import TrackEvent
from services.recognizer.wall_clock import WallClock

EndReason = Literal["gone", "interrupted"]

IMAGE_WIDTH, IMAGE_HEIGHT = 320, 640
"""The most that the picture that goes with an event has, in pixels: with that it fits into its message."""
_wall_clock = WallClock()


def reading_of(frame: FrameReady, lines: list[Line], model: ModelInfo) -> Reading:
    return Reading(
        frame_id=frame.frame_id,
        captured_ns=frame.captured_ns,
        width=frame.width,
        height=frame.height,
        codes=tuple(_code(line) for line in lines),
        model=model,
        latency_ms=_milliseconds_since(frame.captured_ns),
    )


def event_of(
    event: TrackEvent, event_id: str, frame: FrameReady, model: ModelInfo, end_reason: EndReason
) -> ReadingEvent:
    """What follows from `frame` for one sign."""
    return ReadingEvent(
        event_id=event_id,
        phase=event.kind,
        end_reason=end_reason if event.kind == "end" else "",
        text=event.text,
        confidence=event.confidence,
        digit_confidences=event.digit_confidences,
        first_seen=_wall_clock.at(event.first_seen_ns),
        last_seen=_wall_clock.at(event.last_seen_ns),
        frames=event.frames,
        frame_id=frame.frame_id,
        box=_box(event.box),
        model=model,
        latency_ms=_milliseconds_since(frame.captured_ns),
    )


def image_of(event: TrackEvent, event_id: str, pixels: NDArray[np.uint8]) -> ReadingImage:
    """The frame (h, w, 3) in which the event was decided, small, with a box around what was read."""
    tall, wide = pixels.shape[:2]
    scale = min(1.0, IMAGE_WIDTH / wide, IMAGE_HEIGHT / tall)
    size = max(1, round(wide * scale)), max(1, round(tall * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    x, y, width, height = (round(each * scale) for each in event.box)
    cv2.rectangle(small, (x - 3, y - 3), (x + width + 3, y + height + 3), (80, 200, 0), 2)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 75])
    return ReadingImage(
        event_id=event_id, text=event.text, width=small.shape[1], height=small.shape[0], jpeg=jpeg.tobytes()
    )


def _code(line: Line) -> Code:
    return Code(
        text=line.text,
        confidence=line.confidence,
        box=_box(line.box),
        digits=tuple(
            Digit(
                label=digit.label,
                confidence=digit.confidence,
                runner_up=digit.runner_up,
                runner_up_confidence=digit.runner_up_confidence,
                box=_box(digit.box),
            )
            for digit in line.digits
        ),
    )


def _box(box: BoundingBox) -> Box:
    return Box(x=box[0], y=box[1], width=box[2], height=box[3])


def _milliseconds_since(monotonic_ns: int) -> float:
    return max(0.0, round((time.monotonic_ns() - monotonic_ns) / 1e6, 3))
