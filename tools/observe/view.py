"""`smartcar view`: a window on what the car sees and reads."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import zmq
from numpy.typing import NDArray

from messages.bus import Subscriber, socket_path
from messages.ring import FrameGone, RingReader
from messages.vision import UNREADABLE, FrameReady, Reading
from services.catalogue import SERVICES
from services.config import Settings
from tools.observe.screen import is_open, prepare_screen
from tools.terminal.output import silence_libraries
from tools.terminal.problems import Problem

Pixels = NDArray[np.uint8]

TITLE = "smartcar"
STALE_S = 1.0
_WIDE_ENOUGH = 640
_KEYS_THAT_END = {ord("q"), 27}
_SURE, _DOUBTFUL, _STALE = (80, 200, 80), (60, 170, 240), (60, 60, 230)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_AROUND = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def show(settings: Settings) -> int:
    """Show frames with their readings until the window is closed, or q. Raises Problem without a screen."""
    prepare_screen("run it on the desktop, or look at the page, whose address `smartcar status` prints")
    silence_libraries()  # Qt complains about fonts
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ring = RingReader(socket_path(settings.paths.runtime, "capture", "ring"))
    try:
        subscriber = Subscriber(context, settings.paths.runtime, ("frame", "reading"), SERVICES)
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        _look(subscriber, ring)
    except cv2.error as error:
        raise Problem(f"No window can be opened: {error.err or error}.") from error
    except KeyboardInterrupt:
        pass
    finally:
        cv2.destroyAllWindows()
        ring.close()
        context.destroy(linger=0)
    return 0


def _look(subscriber: Subscriber, ring: RingReader) -> None:
    poller = zmq.Poller()
    for each in subscriber.sockets:
        poller.register(each, zmq.POLLIN)
    reading: Reading | None = None
    picture: Pixels | None = None
    while True:
        poller.poll(50)
        for _, message in subscriber.receive():
            if isinstance(message, Reading):
                reading = message
            elif isinstance(message, FrameReady):
                if picture is None:
                    cv2.resizeWindow(TITLE, *_window_size(message))
                picture = _picture(ring, message)
                shown_ns = message.captured_ns
        if picture is not None:
            canvas = picture.copy()
            draw(canvas, reading, (time.monotonic_ns() - shown_ns) / 1e9)
            cv2.imshow(TITLE, canvas)
        if cv2.waitKey(1) & 0xFF in _KEYS_THAT_END:
            return
        if not is_open(TITLE):
            return


def _window_size(frame: FrameReady) -> tuple[int, int]:
    """The frame's shape, large enough to read what is written on it."""
    scale = max(1, round(_WIDE_ENOUGH / frame.width))
    return frame.width * scale, frame.height * scale


def _picture(ring: RingReader, frame: FrameReady) -> Pixels | None:
    try:
        with ring.frame(frame) as pixels:
            return pixels.copy()
    except FrameGone:
        return None


def draw(canvas: Pixels, reading: Reading | None, age_s: float) -> None:
    """Boxes, digits, model and the frame's age onto a BGR picture; a stale one says so in red."""
    height, width = canvas.shape[:2]
    stale = age_s > STALE_S
    if reading is not None and not stale:
        for code in reading.codes:
            colour = _DOUBTFUL if UNREADABLE in code.text else _SURE
            box = code.box
            cv2.rectangle(canvas, (box.x, box.y), (box.x + box.width, box.y + box.height), colour, 2)
            _write(canvas, f"{code.text}  {code.confidence:.0%}", (box.x, max(18, box.y - 8)), colour, 0.7)
    model = f"{reading.model.name} {reading.model.version}" if reading is not None else "no reading yet"
    age = f"{age_s:.0f} s old: STALE" if stale else f"{age_s * 1000:.0f} ms old"
    _write(
        canvas,
        f"{model}   {age}",
        (8, height - 10),
        _STALE if stale else (255, 255, 255),
        max(0.4, width / 1280),
    )


def _write(
    canvas: Any, text: str, where: tuple[int, int], colour: tuple[int, int, int], scale: float
) -> None:
    x, y = where
    for right, down in _AROUND:  # a dark rim; a thicker pen would also set the letters wider
        cv2.putText(canvas, text, (x + right, y + down), _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(canvas, text, where, _FONT, scale, colour, 1, cv2.LINE_AA)
