"""Starts the reader process, receives its reports, and knows when it has been silent for too long.

reader = ReaderProcess("camera:0", settings, ring_folder)
for message in reader.receive(): ...   # when reader.descriptor is readable
if reader.is_overdue: reader.kill()
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from services.capture import camera_discovery
from services.capture.reader_messages import (
    Busy,
    Ended,
    FrameLost,
    FrameWritten,
    Opened,
    ReaderMessage,
    ReaderOrder,
    ReaderSettings,
    Remark,
    decode,
)
from services.capture.source import MAX_FRAME_PIXELS

START_TIMEOUT_S = 30.0
"""The time for starting Python and OpenCV from a slow card, on a machine that is booting."""
OPEN_TIMEOUT_S = 6.0
PICAMERA_OPEN_TIMEOUT_S = 15.0
"""The time for starting a second Python, libcamera and the sensor, on a Raspberry Pi that is booting."""
DECODE_TIMEOUT_S = 30.0
"""The time for decoding the largest photo that is taken, on a Raspberry Pi that is busy."""
FRAME_TIMEOUT_S = 1.8
FRAME_TIMEOUT_PERIODS = 3
_PIPE_READ = 1 << 16
_MAX_LINE_BYTES = 1 << 16


class ReaderGone(Exception):
    """The reader has ended, or says what no reader says."""


class ReaderProcess:
    """One run of the reader. It is killed, never asked to stop: whatever hangs in it may hang for ever."""

    def __init__(
        self,
        source: str,
        settings: ReaderSettings,
        ring_folder: Path,
        left_out: tuple[str, ...] = (),
        *,
        first_frame: int = 1,
        view: str = "",
    ) -> None:
        # A pipe of its own: camera drivers print on standard output.
        self.descriptor, reports = os.pipe()
        os.set_blocking(self.descriptor, False)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.capture.reader"],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            pass_fds=(reports,),
            env=os.environ | {"OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_FRAME_PIXELS)},
        )
        os.close(reports)
        order = ReaderOrder(source, settings, str(ring_folder), reports, first_frame, view, left_out)
        assert self._process.stdin is not None
        try:  # not on its command line, which everybody may see: a stream's address may hold a password
            with self._process.stdin as stdin:
                stdin.write(order.to_json())
        except OSError:
            pass  # it has ended already, which its pipe tells
        self.source = source
        self._buffer = b""
        self._frame_timeout_s = max(FRAME_TIMEOUT_S, FRAME_TIMEOUT_PERIODS / settings.hertz)
        self._open_timeout_s = (
            PICAMERA_OPEN_TIMEOUT_S if source.startswith(camera_discovery.PICAMERA) else OPEN_TIMEOUT_S
        )
        self._heard_at = time.monotonic()
        self.timeout_s = START_TIMEOUT_S
        """How long it may say nothing now."""
        self.decoding = ""
        """The photo that it decodes now."""
        self.delivering_since: float | None = None
        """When its first frame came, CLOCK_MONOTONIC in seconds."""
        self.refused: tuple[str, ...] = ()
        """A sentence for each setting that its source doesn't take."""
        self.remark = Remark("", is_concern=False)
        """Its newest remark."""
        self.end: Ended | None = None
        """Its last report."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def silent_s(self) -> float:
        """Seconds since it last showed that it is at work."""
        return time.monotonic() - self._heard_at

    @property
    def delivering_s(self) -> float:
        """Seconds since its first frame; 0 before it."""
        return 0.0 if self.delivering_since is None else time.monotonic() - self.delivering_since

    @property
    def is_overdue(self) -> bool:
        return self.silent_s > self.timeout_s

    def receive(self) -> list[ReaderMessage]:
        """What it has reported since the last call. Raises ReaderGone."""
        try:
            chunk = os.read(self.descriptor, _PIPE_READ)
        except BlockingIOError:
            return []
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        if not chunk or len(self._buffer) > _MAX_LINE_BYTES:
            raise ReaderGone
        try:
            messages = [decode(line) for line in lines]
        except ValueError as error:
            raise ReaderGone from error
        for message in messages:
            self._take(message)
        return messages

    def _take(self, message: ReaderMessage) -> None:
        now = time.monotonic()
        if isinstance(message, Busy):
            self._heard_at = now
            self.decoding = message.photo
            self.timeout_s = self._open_timeout_s if message.doing == "opening" else DECODE_TIMEOUT_S
        elif isinstance(message, FrameWritten) or message == FrameLost("dropped"):
            self._heard_at = now
            self.decoding = ""
            self.timeout_s = self._frame_timeout_s
            if self.delivering_since is None:
                self.delivering_since = now
        elif isinstance(message, FrameLost):  # the reader itself gives a source up that sends nothing else
            self._heard_at = now
            self.decoding = ""
        elif isinstance(message, Opened):
            self.refused = message.refused
        elif isinstance(message, Remark):
            self.remark = message
        elif isinstance(message, Ended):
            self.end = message

    def kill(self) -> None:
        """End it, and with it its locks on the ring. It may stay a while in a driver: see `has_ended`."""
        os.close(self.descriptor)
        self._process.kill()

    def has_ended(self) -> bool:
        """Whether the kernel has let go of it after `kill`."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Wait for its end, but not for ever: one that hangs in a driver is left to the kernel."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
