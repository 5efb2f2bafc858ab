"""A snapshot: the newest frame as a JPEG."""

from __future__ import annotations

from pathlib import Path

import cv2

from messages.capture_commands import Snapshot
from messages.command import MAX_COMMAND_BYTES, CommandRefused
from messages.errors import ErrorCode
from messages.ring import FrameGone, FrameReference, RingReader

_QUALITY = 90
MAX_JPEG_BYTES = MAX_COMMAND_BYTES // 4 * 3 - 4096
"""The largest JPEG that fits into an answer as base64."""


def take_snapshot(ring_folder: Path, reference: FrameReference, frame_id: int) -> Snapshot:
    """The frame at `reference`. Raises CommandRefused where it is gone, or too large for an answer."""
    ring = RingReader(ring_folder)
    try:
        with ring.frame(reference) as pixels:
            height, width = pixels.shape[:2]
            _encoded, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    except FrameGone:
        raise CommandRefused(ErrorCode.NO_FRAME, "The newest frame is gone.", "Ask again.") from None
    finally:
        ring.close()
    if jpeg.nbytes > MAX_JPEG_BYTES:
        raise CommandRefused(
            ErrorCode.TOO_LARGE,
            f"The frame of {width}×{height} pixels makes a JPEG of {jpeg.nbytes} bytes; {MAX_JPEG_BYTES} are "
            f"allowed.",
            "Set capture.width and capture.height smaller.",
        )
    return Snapshot(frame_id=frame_id, width=width, height=height, jpeg=jpeg.tobytes())
