"""What one may ask of capture."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from messages.command import Command, Door, Result

DEFAULT_SOURCE = "default"
"""The name of the source that the setting `capture.source` names."""


class CaptureSource(Command):
    """Switch to another source by its configured name."""

    verb = "capture.source"
    about = "switch to another source, by its name in the configuration"
    doors = Door.PAGE, Door.MQTT

    name: Annotated[str, Field(min_length=1, max_length=64)]


class CapturePause(Command):
    verb = "capture.pause"
    about = "stop taking frames; the camera is released"
    doors = Door.PAGE, Door.MQTT


class CaptureResume(Command):
    verb = "capture.resume"
    about = "take frames again"
    doors = Door.PAGE, Door.MQTT


class CaptureCamera(Command):
    """Pause and resume as one, for a switch that has but one topic."""

    verb = "capture.camera"
    about = "take frames, or stop and release the camera: on or off"
    doors = (Door.MQTT,)

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
    doors = (Door.MQTT_OPT_IN,)
