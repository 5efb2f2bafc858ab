"""The table of commands: what one may ask a service, through any door: bus, MQTT, page, command line."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError, model_validator

from messages.command import Command, CommandRefused, Refusal, Reply, Result
from messages.message import Confidence, first_problem
from messages.model_commands import MODEL_COMMANDS
from messages.pad_commands import PAD_COMMANDS
from messages.vision import Box, Digit, GreyImage, ModelInfo, WhichModel

__all__ = [
    "Command",
    "CommandRefused",
    "GreyImage",
    "Refusal",
    "Reply",
    "Result",
]  # with what is defined here

MAX_COMMAND_BYTES = 8 << 20


class CaptureSource(Command):
    """Switch to another source by its configured name."""

    verb = "capture.source"
    about = "switch to another source, by its name in the configuration"

    name: Annotated[str, Field(min_length=1, max_length=64)]


class CapturePause(Command):
    verb = "capture.pause"
    about = "stop taking frames; the camera is released"


class CaptureResume(Command):
    verb = "capture.resume"
    about = "take frames again"


class CaptureCamera(Command):
    """Pause and resume as one, for a switch that has but one topic."""

    verb = "capture.camera"
    about = "take frames, or stop and release the camera: on or off"

    on: bool


class Snapshot(Result):
    """A frame as a JPEG."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    frame_id: int
    width: int
    height: int
    jpeg: bytes


class CaptureSnapshot(Command):
    verb = "capture.snapshot"
    result = Snapshot
    about = "the newest frame as a JPEG, in base64"


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


_ALL: tuple[type[Command], ...] = (
    CaptureSource,
    CapturePause,
    CaptureResume,
    CaptureCamera,
    CaptureSnapshot,
    RecognizerRead,
    *PAD_COMMANDS,
    *MODEL_COMMANDS,
)
COMMANDS: dict[str, type[Command]] = {command.verb: command for command in _ALL}


_SERVED_BY = {"model": "updater"}
"""The first word of a verb is the name of its service, but for these."""


def addressee(verb: str) -> str:
    """The service that a verb is addressed to."""
    subject = verb.partition(".")[0]
    return _SERVED_BY.get(subject, subject)


def parse_command(verb: str, payload: bytes | str, now: datetime) -> Command:
    """The command in a JSON `payload`. Raises CommandRefused: unknown-verb, malformed, expired."""
    cls = COMMANDS.get(verb)
    if cls is None:
        raise CommandRefused("unknown-verb", f"there is no command {verb}; there are: {', '.join(COMMANDS)}")
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandRefused("too-large", f"{len(payload)} bytes came; {MAX_COMMAND_BYTES} are allowed")
    try:
        command = cls.model_validate_json(payload or b"{}")
    except ValidationError as error:
        raise CommandRefused("malformed", f"{verb}: {first_problem(error)}") from error
    if command.expires_at is not None and command.expires_at <= now:
        raise CommandRefused("expired", f"{verb} was to be done before {command.expires_at.isoformat()}")
    return command
