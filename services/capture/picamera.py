"""The Raspberry Pi camera: picamera2 belongs to the system's Python, so a child of its own reads it there.

The child, `picamera_child.py`, says what it sends and how.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from services.capture.reader_messages import ReaderSettings
from services.capture.source import Frame, Pixels, Source, SourceError

CHILD = Path(__file__).with_name("picamera_child.py")
_PIPE_BYTES = 1 << 20
"""The size of the pipe, the most that Linux gives any user: it holds a frame of 640×480 pixels."""


class PiCamera(Source):
    """`picamera:` or `picamera:1`; its own clock paces it. Raises SourceError."""

    live = True

    def __init__(self, number: int, settings: ReaderSettings) -> None:
        width, height = settings.camera_size
        receiving, sending = os.pipe()
        order = {
            "pipe": sending,
            "parent": os.getpid(),
            "number": number,
            "width": width,
            "height": height,
            "hertz": settings.hertz,
            "exposure_us": settings.exposure_us,
            "gain": settings.gain,
            "autofocus": settings.autofocus,
        }
        python = settings.picamera_python
        self._frames = open(receiving, "rb", buffering=0)  # noqa: SIM115  (closed by close)
        try:
            fcntl.fcntl(receiving, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # this user has too many pipes already; a small one will do
        try:
            self._child = subprocess.Popen(
                [python, "-I", str(CHILD), json.dumps(order)], stdin=subprocess.DEVNULL, pass_fds=(sending,)
            )
        except OSError as error:
            self._frames.close()
            raise SourceError(
                f"{python} can't be started ({error.strerror}); set capture.picamera_python to the Python "
                f"that has picamera2."
            ) from error
        finally:
            os.close(sending)
        try:
            self.name, refused = self._receive("opened")
        except SourceError:
            self.close()
            raise
        self.refused = tuple(refused)

    def read(self) -> Frame:
        captured_ns, height, width = self._receive("frame")
        pixels: Pixels = np.empty((height, width, 3), np.uint8)
        self._read(memoryview(pixels).cast("B"))  # type: ignore[arg-type]
        return Frame(pixels, captured_ns)

    def _receive(self, expected: str) -> list[Any]:
        """What the child's next report says. Raises SourceError for a failure that it reports, or its end."""
        count = bytearray(4)
        self._read(memoryview(count))
        text = bytearray(struct.unpack("=I", count)[0])
        self._read(memoryview(text))
        content: list[Any] = json.loads(text)
        kind = content.pop(0)
        if kind != expected:
            raise SourceError(content[0])
        return content

    def _read(self, view: memoryview) -> None:
        while view:
            count = self._frames.readinto(view)
            if not count:
                raise SourceError("The reader of the Raspberry Pi camera ended; it is started anew.")
            view = view[count:]

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        self._frames.close()
