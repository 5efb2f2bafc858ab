"""The live picture: a frame, encoded once for all viewers, with the reading of the same frame."""

from __future__ import annotations

import json
import logging
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from messages.vision import FrameReady, Reading

if TYPE_CHECKING:
    from messages.ring import RingReader

REMEMBERED_FRAMES = 8
UNREAD_AFTER_S = 0.5
"""When no reading has come for this long, the page gets pictures without readings."""

_LENGTH = struct.Struct(">I")

log = logging.getLogger(__name__)


class LivePicture:
    """Pairs frames with their readings and encodes at most `hertz` a second, only while one is wanted.

    Belongs to the service's loop. Encoding goes on in a thread of its own: OpenCV lets the loop run
    meanwhile, and loading it takes longer than a heartbeat. Nothing is loaded before the first picture.
    A frame that comes while another is being encoded is left out. `deliver(bytes)` is called in that thread.
    """

    def __init__(self, ring: Path, hertz: float, quality: int, deliver: Callable[[bytes], None]) -> None:
        self._period_s = 1 / hertz
        self._deliver = deliver
        self._encoder = _Encoder(ring, quality)
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._running: Future[float | None] | None = None
        self._frames: OrderedDict[int, FrameReady] = OrderedDict()
        self._due = 0.0
        self._read_at = 0.0

    def frame(self, frame: FrameReady, wanted: bool) -> None:
        self._frames[frame.captured_ns] = frame
        if len(self._frames) > REMEMBERED_FRAMES:
            self._frames.popitem(last=False)
        if wanted and time.monotonic() - self._read_at > UNREAD_AFTER_S:
            self._encode(frame, None)

    def reading(self, reading: Reading, wanted: bool) -> None:
        """A frame was read."""
        frame = self._frames.get(reading.captured_ns)
        if frame is None or frame.frame_id != reading.frame_id:
            return
        self._read_at = time.monotonic()
        if wanted:
            self._encode(frame, reading)

    def _encode(self, frame: FrameReady, reading: Reading | None) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        if self._running is not None and not self._running.done():
            return
        # A quarter of a period early is on time, else 30 frames a second become 10 pictures and not 15.
        self._due = max(self._due + self._period_s, now + 0.75 * self._period_s)
        self._running = self._thread.submit(self._encode_and_deliver, frame, reading)

    def taken(self) -> float | None:
        """Milliseconds that the last picture took to encode, once; raises what went wrong in that thread."""
        if self._running is None or not self._running.done():
            return None
        encoding, self._running = self._running, None
        return encoding.result()

    def _encode_and_deliver(self, frame: FrameReady, reading: Reading | None) -> float | None:
        begun_ns = time.monotonic_ns()
        jpeg = self._encoder.jpeg(frame)
        if jpeg is None:
            return None
        self._deliver(picture_message(frame, reading, jpeg))
        return (time.monotonic_ns() - begun_ns) / 1e6

    def rest(self) -> None:
        """Nobody looks: let go of the ring."""
        self._frames.clear()
        self._thread.submit(self._encoder.close)

    def close(self) -> None:
        self._thread.submit(self._encoder.close)
        self._thread.shutdown()


class _Encoder:
    """Frames from the ring as JPEG. Lives in the encoder's thread."""

    def __init__(self, ring: Path, quality: int) -> None:
        self._ring = ring
        self._quality = quality
        self._reader: RingReader | None = None

    def jpeg(self, frame: FrameReady) -> bytes | None:
        """The frame, or None where its slot holds another one by now."""
        import cv2  # here, for it doubles the memory of a process at whose page nobody looks

        from messages.ring import FrameGone, RingReader

        if self._reader is None:
            cv2.setNumThreads(1)
            self._reader = RingReader(self._ring)
        try:
            with self._reader.frame(frame) as pixels:
                done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        except FrameGone:
            return None
        return encoded.tobytes() if done else None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def picture_message(frame: FrameReady, reading: Reading | None, jpeg: bytes) -> bytes:
    """What goes to the page: length of the header (4 bytes, big-endian), header (JSON), JPEG."""
    header = {
        "frame_id": frame.frame_id,
        "captured": frame.captured_ns / 1e6,
        "width": frame.width,
        "height": frame.height,
        "view": frame.view,
        "reading": None
        if reading is None
        else reading.model_dump(mode="json", include={"codes", "model", "latency_ms"}),
    }
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(encoded)), encoded, jpeg))
