"""The reader process: takes frames from one source and puts them into the ring.

A `read()` that hangs or a driver that crashes takes this process with it, and nobody else: the capture
service kills it and starts another. It speaks to the service in lines of JSON through a pipe.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from messages.ring import RingWriter
from services.capture.sources import Pixels, Source, SourceError, open_source

FROZEN_AFTER_S = 1.5
_PR_SET_PDEATHSIG = 1
_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class FrozenCheck:
    """Notices a camera that delivers the very same picture again and again: real sensors have noise."""

    def __init__(self) -> None:
        self._sample = b""
        self._since_ns = 0

    def is_frozen(self, pixels: Pixels, now_ns: int) -> bool:
        sample = pixels[::16, ::16].tobytes()
        if sample != self._sample:
            self._sample, self._since_ns = sample, now_ns
        return now_ns - self._since_ns > FROZEN_AFTER_S * 1e9


def fit(pixels: Pixels, rotate: int, width: int, height: int) -> Pixels:
    """Turned clockwise by `rotate` degrees, then made smaller until it is within width×height pixels."""
    if rotate:
        pixels = cv2.rotate(pixels, _ROTATIONS[rotate])  # type: ignore[assignment]
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return pixels


class Reports:
    """Lines of JSON to the service, through the pipe that it opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, **content: Any) -> None:
        os.write(self._descriptor, json.dumps(content).encode() + b"\n")


def pump(source: Source, writer: RingWriter, settings: dict[str, Any], reports: Reports) -> None:
    """Frames from the source into the ring until it ends. Raises SourceError."""
    frozen = FrozenCheck()
    while (frame := source.read()) is not None:
        if source.live and frozen.is_frozen(frame.pixels, time.monotonic_ns()):
            raise SourceError("the camera delivers the same picture again and again; it is opened anew")
        pixels = fit(frame.pixels, settings["rotate"], settings["width"], settings["height"])
        reference = writer.write(pixels)
        if reference is None:
            reports.say(dropped=1)
        else:
            reports.say(captured_ns=frame.captured_ns, view=source.view, **reference._asdict())


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed service leaves no reader behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's matter
    arguments = json.loads(sys.argv[1])
    cv2.setNumThreads(1)
    reports = Reports(arguments["reports"])
    settings = arguments["settings"]
    try:
        source = open_source(arguments["source"], settings)
        writer = RingWriter(Path(arguments["ring_folder"]), (settings["height"], settings["width"]))
    except (SourceError, OSError) as error:
        reports.say(error=str(error))
        return 1
    try:
        pump(source, writer, settings, reports)
        reports.say(ended=True)
    except SourceError as error:
        reports.say(error=str(error))
        return 1
    except BrokenPipeError:
        pass  # the service is gone
    finally:
        source.close()
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
