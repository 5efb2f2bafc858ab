"""The messages between the capture service and its reader: an order at its start, then its reports.

    pipe.write(encode(FrameWritten(reference, Announcement(7, captured_ns, "a.jpg"))))
    message = decode(line)

A report is one line of JSON: the class's name and its fields. Needs only the standard library and NumPy: the
reader must not need more.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

from messages.ring import Announcement, FrameReference


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """What sources need to know of the section `capture` of the settings, under the same names."""

    width: int
    height: int
    hertz: float
    rotate: Literal[0, 90, 180, 270]
    exposure_us: int
    gain: float
    autofocus: bool
    picamera_python: str
    photo_seconds: float
    loop: bool

    @classmethod
    def of(cls, capture: Any) -> ReaderSettings:
        """From the section `capture`."""
        values = {field.name: getattr(capture, field.name) for field in fields(cls)}
        return cls(**{**values, "picamera_python": str(capture.picamera_python)})

    @property
    def camera_size(self) -> tuple[int, int]:
        """The (width, height) to ask a camera for, so that its frames fit once they are turned."""
        return (self.height, self.width) if self.rotate in (90, 270) else (self.width, self.height)


@dataclass(frozen=True, slots=True)
class ReaderOrder:
    """Which source to read, and where to put its frames and reports."""

    source: str
    settings: ReaderSettings
    ring_folder: str
    reports: int
    """The file descriptor that reports are written to."""
    first_frame: int
    """The number of its first frame."""
    view: str
    """What its frames show, where the source itself doesn't say."""
    left_out: tuple[str, ...] = ()
    """Names of photos at which an earlier reader broke; a folder begins after the last of them."""

    def to_json(self) -> bytes:
        """For the reader's standard input. Names of files that are no UTF-8 survive it."""
        return json.dumps(astuple(self)).encode()

    @classmethod
    def from_json(cls, text: str) -> ReaderOrder:
        """What `to_json` wrote."""
        source, settings, folder, reports, first_frame, view, left_out = json.loads(text)
        return cls(source, ReaderSettings(*settings), folder, reports, first_frame, view, tuple(left_out))


@dataclass(frozen=True, slots=True)
class Busy:
    """No frame comes for a while, and that is no fault."""

    doing: Literal["opening", "decoding"]
    photo: str = ""
    """The name of the photo that is decoded, as the folder has it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The source is open."""

    camera: str
    """What the camera is called; empty for other sources."""
    refused: tuple[str, ...]
    """A sentence for each setting that the source doesn't take."""


@dataclass(frozen=True, slots=True)
class FrameWritten:
    """A frame is in the ring, and was announced there."""

    reference: FrameReference
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class FrameLost:
    """A frame isn't shown: no slot of the ring was free (`dropped`), or it can't be decoded (`damaged`)."""

    counter: Literal["dropped", "damaged"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of the source while it delivers; it takes the place of the remark before it."""

    sentence: str
    is_concern: bool
    """Whether something is wrong, so that the service is `degraded`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last report: the source has come to its end, or failed."""

    problem: str
    """Why it failed: one sentence; empty where it has come to its end."""


ReaderMessage = Busy | Opened | FrameWritten | FrameLost | Remark | Ended

_CLASSES: dict[str, type[ReaderMessage]] = {
    each.__name__: each for each in (Busy, Opened, FrameWritten, FrameLost, Remark, Ended)
}


def encode(message: ReaderMessage) -> bytes:
    content = [getattr(message, field.name) for field in fields(message)]
    return json.dumps([type(message).__name__, *content]).encode() + b"\n"


def decode(line: bytes) -> ReaderMessage:
    """The message in a line. Raises ValueError for anything that `encode` doesn't write."""
    try:
        name, *content = json.loads(line)
        message = _CLASSES[name](*content)
        if isinstance(message, FrameWritten):
            return FrameWritten(FrameReference(*message.reference), Announcement(*message.announcement))
        if isinstance(message, Opened):
            return Opened(message.camera, tuple(message.refused))
    except (TypeError, KeyError) as error:
        raise ValueError(f"{line[:80]!r} is no report of a reader") from error
    return message
