"""The reader process: takes frames from one source and puts them into the ring.

A `read()` that hangs or a driver that crashes takes this process with it, and nobody else: the capture
service kills it and starts another. It reports to the service through a pipe (`reader_messages`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from messages.ring import Announcement, RingWriter
from messages.text import printable
from services.capture.open_source import open_source
from services.capture.reader_messages import (
    Busy,
    Ended,
    FrameLost,
    FrameWritten,
    Opened,
    ReaderMessage,
    ReaderOrder,
    Remark,
    encode,
)
from services.capture.source import DamagedFrame, Frame, Pixels, Source, SourceError

MAX_MEMORY_BYTES = 512 << 20
"""The memory that the reader may take after its start, so that no picture gets the service killed."""
PATIENCE_S = 1.3
"""How long a source may deliver damaged pictures, or the same one."""
PATIENCE_FRAMES = 2.5
DARK = "The camera sees but one colour; is its lens covered, or is it dark?"
_STEP = 16
_ONE_COLOUR = 8
_PR_SET_PDEATHSIG = 1
_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}

log = logging.getLogger(__name__)


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
    """The pipe to the service."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, message: ReaderMessage) -> None:
        """Raises BrokenPipeError where the service is gone."""
        os.write(self._descriptor, encode(message))


def pump(source: Source, writer: RingWriter, order: ReaderOrder, reports: Reports) -> None:
    """Frames from the source into the ring until it ends. Raises SourceError."""
    settings, number = order.settings, order.first_frame
    patience_s = max(PATIENCE_S, PATIENCE_FRAMES / settings.hertz)
    frozen = FrozenCheck(patience_s)
    whole_at = time.monotonic()
    remark = Remark("", is_concern=False)
    source.on_decoding = lambda photo: reports.send(Busy("decoding", photo))
    while True:
        try:
            frame = _read(source)
        except DamagedFrame as problem:
            reports.send(FrameLost("damaged", str(problem)))
            if source.live and time.monotonic() - whole_at > patience_s:
                raise SourceError(
                    f"Every picture comes damaged ({problem}); see the cable and the power, or the server."
                ) from problem
            continue
        if frame is None:
            return
        whole_at = time.monotonic()
        is_dark = False
        if source.live:
            still = frozen.still(frame.pixels, time.monotonic_ns())
            if still == "frozen":
                raise SourceError("The camera delivers the same picture again and again; it is opened anew.")
            is_dark = still == "dark"
        if remark != (remark := Remark(DARK, is_concern=True) if is_dark else Remark(source.remark, False)):
            reports.send(remark)
        pixels = fit(frame.pixels, settings.rotate, settings.width, settings.height)
        announcement = Announcement(number, frame.captured_ns, source.view or order.view)
        reference = writer.write(pixels, announcement)
        if reference is None:
            reports.send(FrameLost("dropped"))
        else:
            reports.send(FrameWritten(reference, announcement))
            number += 1


def _read(source: Source) -> Frame | None:
    """The source's next frame. Whatever else a picture of a live source raises, it is a damaged one."""
    try:
        return source.read()
    except (DamagedFrame, SourceError, BrokenPipeError):
        raise
    except Exception as error:
        if not source.live:
            raise
        raise DamagedFrame(f"a picture that can't be decoded: {_said(error)}") from error


def _said(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}")


def _limit_memory() -> None:
    """Let what needs too much memory raise. Shared memory, such as the ring, doesn't count."""
    data_pages = int(Path("/proc/self/statm").read_text().split()[5])
    most = data_pages * resource.getpagesize() + MAX_MEMORY_BYTES
    _, allowed = resource.getrlimit(resource.RLIMIT_DATA)
    if allowed == resource.RLIM_INFINITY or most < allowed:
        resource.setrlimit(resource.RLIMIT_DATA, (most, allowed))


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed service leaves no reader behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's matter
    order = ReaderOrder.from_json(sys.stdin.read())
    cv2.setNumThreads(1)
    _limit_memory()
    reports = Reports(order.reports)
    try:
        reports.send(Ended(_run(order, reports)))
    except BrokenPipeError:
        pass  # the service is gone
    return 0


def _run(order: ReaderOrder, reports: Reports) -> str:
    """Read the source to its end; returns what went wrong, or nothing. Raises BrokenPipeError."""
    settings = order.settings
    reports.send(Busy("opening"))
    with ExitStack() as opened:
        try:
            source = open_source(order.source, settings, order.left_out)
            opened.callback(source.close)
            writer = RingWriter(Path(order.ring_folder), (settings.height, settings.width))
            opened.callback(writer.close)
            reports.send(Opened(source.name, source.refused))
            pump(source, writer, order, reports)
        except BrokenPipeError:
            raise
        except (SourceError, OSError) as error:
            return str(error)
        except Exception as error:
            log.exception("the reader failed")
            return f"The source failed ({_said(error)}); it is opened anew."
    return ""


if __name__ == "__main__":
    sys.exit(main())
