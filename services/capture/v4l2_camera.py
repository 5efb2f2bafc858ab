"""A camera through Video4Linux: OpenCV takes the pictures, ioctls find out what OpenCV doesn't tell."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from services.capture import v4l2
from services.capture.camera_discovery import why_not
from services.capture.jpeg import complaints
from services.capture.reader_messages import ReaderSettings
from services.capture.source import DamagedFrame, Frame, Source, SourceError, Thinning

_BUFFERS = 3
"""With a single buffer, a camera skips every other picture, as it has nowhere to put it."""
_MOST_AGE_NS = 1_000_000_000


class Camera(Source):
    """`/dev/video0`; its own clock paces it. Raises SourceError."""

    live = True

    def __init__(self, device: Path, settings: ReaderSettings) -> None:
        self._device = device
        if reason := why_not(device):
            raise SourceError(reason)
        self._thinning = Thinning(settings.hertz)
        self._capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceError(why_not(device) or f"OpenCV can't read from the camera {device}; take another.")
        width, height = settings.camera_size
        # Motion JPEG first: uncompressed 640×480 at 30/s is more than many cameras can send over USB 2.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        self._capture.set(cv2.CAP_PROP_FPS, settings.hertz)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
        self.refused = tuple(_set_up(device, settings))

    def read(self) -> Frame:
        while True:
            if not self._capture.grab():
                self._capture.release()  # else it is we who use it
                raise SourceError(
                    why_not(self._device)
                    or f"The camera {self._device} stopped delivering; it is opened anew."
                )
            captured_ns = self._captured_ns()
            if self._thinning.wants(captured_ns):
                break
        with complaints() as said:
            read, pixels = self._capture.retrieve()
        if not read or pixels is None:
            raise DamagedFrame("a picture that can't be decoded")
        if complaint := said():
            raise DamagedFrame(complaint)
        return Frame(pixels, captured_ns)  # type: ignore[arg-type]

    def _captured_ns(self) -> int:
        """When the driver had the picture, where it says so on our clock; else now."""
        now_ns = time.monotonic_ns()
        stamped_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamped_ns if 0 <= now_ns - stamped_ns < _MOST_AGE_NS else now_ns

    def close(self) -> None:
        self._capture.release()


def _set_up(device: Path, settings: ReaderSettings) -> Iterator[str]:
    """Set exposure, gain and focus; yields a sentence for each that the camera doesn't take."""
    exposure_us, gain = settings.exposure_us, settings.gain
    with _open(device) as descriptor:
        if exposure_us:
            v4l2.set_control(descriptor, v4l2.AUTO_EXPOSURE, v4l2.EXPOSURE_MANUAL)
            if reason := _set(descriptor, v4l2.EXPOSURE_100_US, max(1, round(exposure_us / 100)), 100):
                yield f"capture.exposure_us = {exposure_us}: {reason}"
        else:
            v4l2.set_control(descriptor, v4l2.AUTO_EXPOSURE, v4l2.EXPOSURE_APERTURE_PRIORITY)
        if gain:
            v4l2.set_control(descriptor, v4l2.AUTO_GAIN, 0)
            if reason := _set(descriptor, v4l2.GAIN, round(gain)):
                yield f"capture.gain = {gain:g}: {reason}"
        else:
            v4l2.set_control(descriptor, v4l2.AUTO_GAIN, 1)
        v4l2.set_control(descriptor, v4l2.AUTO_FOCUS, int(settings.autofocus))


def _set(descriptor: int, control: int, value: int, unit: int = 1) -> str:
    """Set a control; why it isn't set, or nothing. `unit` is what one step of it means in the settings."""
    takes = v4l2.control_range(descriptor, control)
    if takes is None:
        return "the camera has no such control"
    if not takes.minimum <= value <= takes.maximum:
        return f"the camera takes {takes.minimum * unit} to {takes.maximum * unit}"
    return "" if v4l2.set_control(descriptor, control, value) else "the camera refused it"


@contextmanager
def _open(device: Path) -> Iterator[int]:
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
