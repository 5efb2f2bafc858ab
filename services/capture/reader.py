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
from typing import Any, Literal

import cv2
import numpy as np

from messages.ring import RingWriter
from services.capture.source import DamagedFrame, Pixels, Source, SourceError
from services.capture.sources import open_source

PATIENCE_S = 1.5
"""How long a source may deliver damaged pictures, or the same one."""
PATIENCE_FRAMES = 2.5
DARK = "the camera sees but one colour; is its lens covered, or is it dark?"
_STEP = 16
_ONE_COLOUR = 8
_PR_SET_PDEATHSIG = 1
_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class FrozenCheck:
    """Notices a camera that delivers the very same picture again and again: real sensors have noise.

    But a covered lens, or the dark, can look the same for ever: what has one colour alone is no proof.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_ns = round(patience_s * 1e9)
        self._last: Pixels | None = None
        self._since_ns = 0

    def still(self, pixels: Pixels, now_ns: int) -> Literal["", "frozen", "dark"]:
        """What is wrong, if anything. `pixels` is kept until the next frame: it must not change."""
        if self._last is None or not _same(self._last, pixels):
            self._since_ns = now_ns
        self._last = pixels
        if now_ns - self._since_ns <= self._patience_ns:
            return ""
        return "frozen" if np.ptp(pixels[::_STEP, ::_STEP]) > _ONE_COLOUR else "dark"


def _same(first: Pixels, second: Pixels) -> bool:
    """A few pixels tell two pictures apart; only where they don't are all compared."""
    return np.array_equal(first[::_STEP, ::_STEP], second[::_STEP, ::_STEP]) and np.array_equal(first, second)


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
    patience_s = max(PATIENCE_S, PATIENCE_FRAMES / settings["hertz"])
    frozen = FrozenCheck(patience_s)
    whole_at = time.monotonic()
    dark = False
    while True:
        try:
            frame = source.read()
        except DamagedFrame as problem:
            reports.say(damaged=1)
            if time.monotonic() - whole_at > patience_s:
                raise SourceError(
                    f"every picture comes damaged ({problem}); see the cable and the power, or the server"
                ) from problem
            continue
        if frame is None:
            return
        whole_at = time.monotonic()
        if source.live:
            still = frozen.still(frame.pixels, time.monotonic_ns())
            if still == "frozen":
                raise SourceError("the camera delivers the same picture again and again; it is opened anew")
            if dark != (still == "dark"):
                dark = not dark
                reports.say(concern=DARK if dark else "")
        pixels = fit(frame.pixels, settings["rotate"], settings["width"], settings["height"])
        reference = writer.write(pixels)
        if reference is None:
            reports.say(dropped=1)
        else:
            reports.say(captured_ns=frame.captured_ns, view=source.view, **reference._asdict())


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed service leaves no reader behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's matter
    arguments = json.load(sys.stdin)
    cv2.setNumThreads(1)
    reports = Reports(arguments["reports"])
    settings = arguments["settings"]
    reports.say(opening=True)
    try:
        source = open_source(arguments["source"], settings)
        writer = RingWriter(Path(arguments["ring_folder"]), (settings["height"], settings["width"]))
    except (SourceError, OSError) as error:
        reports.say(error=str(error))
        return 1
    try:
        reports.say(opened=source.name, refused=source.refused)
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
