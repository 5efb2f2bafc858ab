"""Finds the cameras of this machine by their capabilities, and chooses which of them to open.

Only the standard library, and quick: the capture service asks this each time before it starts a reader.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from services.capture import v4l2

DEVICES = Path("/dev")
CLASS = Path("/sys/class/video4linux")
PROCESSES = Path("/proc")

CAMERA = "camera"
PICAMERA = "picamera"
AUTOMATIC = f"{CAMERA}:"
"""The source that stands for whichever camera delivers frames."""

_V4L2_MAJOR = 81
_RAW_DRIVERS = ("unicam", "rp1-cfe")
"""Behind these is the Raspberry Pi camera: they receive raw sensor data, picamera2 makes pictures of it."""
_FORBIDDEN = (errno.EACCES, errno.EPERM)


class CameraInfo(NamedTuple):
    """A camera, by what the reader opens and by what people call it."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source} ({self.name})" if self.name else self.source


class NoCamera(Exception):
    """There is no such camera now; one sentence, what is wrong and what to do."""


def is_camera(source: str) -> bool:
    """Whether the source is a camera that may be plugged in and out."""
    return source.startswith(f"{PICAMERA}:") or source == AUTOMATIC or device_of(source) is not None


def device_of(source: str) -> Path | None:
    """The device that `camera:0`, `/dev/video0` or `/dev/v4l/by-id/…` names; None for other sources."""
    kind, _, rest = source.partition(":")
    named = rest if kind == CAMERA else source
    if kind == CAMERA and named.isdigit():
        return DEVICES / f"video{named}"
    path = Path(named)
    if named and (kind == CAMERA or named.startswith((f"{DEVICES}/video", f"{DEVICES}/v4l/"))):
        return path
    return path if _is_v4l2(path) else None


def nodes() -> frozenset[str]:
    """The names of the video devices: they change when a camera is plugged in or out."""
    try:
        return frozenset(name for name in os.listdir(DEVICES) if name.startswith("video"))
    except OSError:
        return frozenset()


def find() -> list[CameraInfo]:
    """The cameras that may be opened here, the Raspberry Pi's first. Raises NoCamera where there is none."""
    raspberry: dict[Path, CameraInfo] = {}
    others: list[CameraInfo] = []
    forbidden: OSError | None = None
    for node in sorted(nodes(), key=lambda name: (len(name), name)):
        if _name_of(node).startswith(_RAW_DRIVERS):
            receiver = (CLASS / node / "device").resolve()
            raspberry.setdefault(receiver, CameraInfo(f"{PICAMERA}:{len(raspberry)}", "Raspberry Pi camera"))
            continue
        try:
            found = _ask(DEVICES / node)
        except OSError as error:
            if error.errno in _FORBIDDEN and forbidden is None:
                forbidden = error
            continue
        if found.captures:
            others.append(CameraInfo(str(DEVICES / node), found.card))
    cameras = [*raspberry.values(), *others]
    if not cameras and forbidden is not None:
        raise NoCamera(_forbidden(Path(forbidden.filename), forbidden))
    if not cameras:
        raise NoCamera("There is no camera; plug one in, it is found by itself (or set capture.source).")
    return cameras


def choose(source: str, failures: Mapping[str, int]) -> CameraInfo:
    """The camera to open for `source`: the one that is named, or of all the first that failed least often.

    `failures` counts by `Camera.source`. Raises NoCamera.
    """
    if source == AUTOMATIC:
        return min(find(), key=lambda camera: failures.get(camera.source, 0))
    kind, _, rest = source.partition(":")
    if kind == PICAMERA:
        if rest and not rest.isdigit():
            raise NoCamera(f"{source}: {PICAMERA}: takes a number, as in {PICAMERA}:0.")
        return CameraInfo(f"{PICAMERA}:{rest or 0}", "Raspberry Pi camera")
    device = device_of(source)
    assert device is not None
    try:
        found = _ask(device)
    except OSError as error:
        raise NoCamera(_why(device, error)) from error
    if not found.captures or found.driver.startswith(_RAW_DRIVERS):
        raw = "; take picamera:" if found.driver.startswith(_RAW_DRIVERS) else ""
        raise NoCamera(f"{device} ({found.card}) delivers no pictures{raw} (cameras here: {_here()}).")
    return CameraInfo(str(device), found.card)


def why_not(device: Path) -> str:
    """Why no pictures can be had from the camera, in one sentence; empty where they can."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        try:
            streaming_elsewhere = v4l2.is_streaming_elsewhere(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _why(device, error)
    return _busy(device) if streaming_elsewhere else ""


def _ask(device: Path) -> v4l2.Capability:
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        return v4l2.capability(descriptor)
    finally:
        os.close(descriptor)


def _why(device: Path, error: OSError) -> str:
    if error.errno in _FORBIDDEN:
        return _forbidden(device, error)
    if error.errno == errno.EBUSY:
        return _busy(device)
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"There is no camera {device} (cameras here: {_here()}); plug it in."
    if error.errno == errno.ENOTTY:
        return f"{device} is no camera (cameras here: {_here()})."
    return f"The camera {device} can't be opened ({error.strerror}); unplug it and plug it in again."


def _forbidden(device: Path, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return f"The camera {device} may not be opened here; the service's unit must allow it (DeviceAllow=)."
    user = os.environ.get("USER") or f"user {os.getuid()}"
    return (
        f"The camera {device} may not be opened by {user}; put it into the group video: "
        f"`sudo usermod -aG video {user}`, then log in again."
    )


def _busy(device: Path) -> str:
    return f"The camera {device} is in use by {_holder(device) or 'another program'}; close that."


def _holder(device: Path) -> str:
    """The program that has the device open, as far as this user may know."""
    try:
        wanted = os.stat(device).st_rdev
    except OSError:
        return ""
    if not wanted:
        return ""
    for process in PROCESSES.iterdir():
        if not process.name.isdigit() or process.name == str(os.getpid()):
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                if descriptor.stat().st_rdev == wanted:
                    return f"{_text(process / 'comm')} (process {process.name})"
        except OSError:
            continue  # it ended, or is another user's
    return ""


def _here() -> str:
    try:
        return ", ".join(str(camera) for camera in find())
    except NoCamera:
        return "none"


def _name_of(node: str) -> str:
    try:
        return _text(CLASS / node / "name")
    except OSError:
        return ""


def _text(file: Path) -> str:
    """A line from the kernel; programs and cameras choose their names, in any bytes. Raises OSError."""
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _is_v4l2(path: Path) -> bool:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == _V4L2_MAJOR
