"""`smartcar pad window`: draw with the mouse, and see what all hands draw. The keys are the course's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import cv2
import zmq

from messages.bus import Subscriber
from messages.command import Command, Reply
from messages.health import Heartbeat
from messages.message import new_ulid
from messages.pad import BOXES, HEIGHT, MAX_BRUSH, MIN_BRUSH, WIDTH, PadResult
from messages.pad_commands import (
    PadAutomatic,
    PadBrush,
    PadErase,
    PadReading,
    PadRecognize,
    PadShow,
    PadStrokeCommand,
    PadUndo,
    PadViews,
)
from messages.pad_follower import PadFollower
from messages.presence import Presence
from messages.rpc.clients import CallbackCommandClient
from services.config import Settings
from tools.observe.screen import is_open, prepare_screen
from tools.pad import painting
from tools.terminal.problems import Problem

TITLE = "smartcar pad"
SHOW_TITLE = "what the model sees"
FRAME_MS = 10
GRACE_S = 1.0
"""A pad that has not been heard of for so long after the start is not there."""
_POINTS_AT_ONCE = 200
_POINTS_IN_A_STROKE = 900
_GONE_QUIETLY = {"no-such-stroke", "finished"}
"""Refusals of a stroke that somebody erased, or that waited too long: the next begins anew."""
_OPENED_AFTER_S = 1.0


def show(settings: Settings) -> int:
    """Until q or until the window is closed. Raises Problem without a screen."""
    prepare_screen("draw on the page, whose address `smartcar status` prints, or with `smartcar pad write`")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        window = PadWindow(context, settings)
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
        cv2.setMouseCallback(TITLE, window.mouse)
        window.run()
    except cv2.error as error:  # built without windows
        raise Problem(f"The window can't be shown: {error}.") from error
    finally:
        cv2.destroyAllWindows()
        context.destroy(linger=0)
    return 0


class PadWindow:
    """One hand at the pad, and a look at all of them."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], settings: Settings) -> None:
        runtime = settings.paths.runtime
        topics = ("pad.canvas", "pad.stroke", "pad.reading", "health")
        self._subscriber = Subscriber(context, runtime, topics, ("pad",))
        self._client = CallbackCommandClient(context, runtime, "pad")
        self._follower = PadFollower()
        self._author = f"window {os.getpid()}"
        self._reading: PadResult | None = None
        self._opened_at = time.monotonic()
        self._presence = Presence()
        self._trouble = self._said = ""
        self._pen: str | None = None
        self._points: list[tuple[float, float]] = []
        self._drawn = 0
        self._begun = self._lifted = False
        self._stale = True

    def run(self) -> None:
        while True:
            self._receive()
            self._draw_on()
            if self._stale:
                self._stale = False
                cv2.imshow(TITLE, painting.window(self._follower, self._reading, self._line()))
            key = cv2.waitKey(FRAME_MS)
            if key == ord("q"):
                return
            if key >= 0:
                self._press(chr(key & 0xFF))
            if not is_open(TITLE) and time.monotonic() - self._opened_at > _OPENED_AFTER_S:
                return

    # the hand

    def mouse(self, event: int, x: int, y: int, flags: int, _: Any) -> None:
        """What the mouse does; a stroke ends where it leaves the canvas."""
        inside = 0 <= x < WIDTH and 0 <= y < HEIGHT
        drawing = event == cv2.EVENT_MOUSEMOVE and flags & cv2.EVENT_FLAG_LBUTTON
        if event == cv2.EVENT_LBUTTONDOWN or (drawing and self._pen is None):
            if inside:
                self._lift()
                self._set_down(x, y)
        elif drawing and inside:
            self._points.append((x, y))
            self._drawn += 1
            if self._drawn >= _POINTS_IN_A_STROKE:  # a longer one goes on as another
                self._lift()
                self._set_down(x, y)
        elif drawing or event == cv2.EVENT_LBUTTONUP:
            self._lift()

    def _set_down(self, x: int, y: int) -> None:
        self._pen = new_ulid()
        self._points = [(x, y)]
        self._drawn = 1

    def _lift(self) -> None:
        if self._pen is not None:
            self._lifted = True
            self._draw_on()

    def _draw_on(self) -> None:
        """Send what the hand has drawn since."""
        if self._pen is None or not (self._points or self._lifted):
            return
        while True:
            points, self._points = tuple(self._points[:_POINTS_AT_ONCE]), self._points[_POINTS_AT_ONCE:]
            last = self._lifted and not self._points
            phase = ("whole" if last else "begin") if not self._begun else ("end" if last else "extend")
            self._begun = True
            self._send(
                PadStrokeCommand(phase=phase, stroke=self._pen, author=self._author, points=points)  # type: ignore[arg-type]
            )
            if not self._points:
                break
        if self._lifted:
            self._pen, self._begun, self._lifted = None, False, False

    # the keys

    def _press(self, key: str) -> None:
        if key == "e":
            self._send(PadErase(author=self._author))
        elif key in "12345"[:BOXES]:
            self._send(PadErase(box=int(key), author=self._author))
        elif key == "u":
            self._send(PadUndo(author=self._author))
        elif key == "r":
            self._send(PadRecognize(), self._recognized)
        elif key == "s":
            self._send(PadShow(), self._show)
        elif key in "+=-_":
            self._set_brush(self._follower.brush + (1 if key in "+=" else -1))
        elif key == "a":
            self._follower.automatic = not self._follower.automatic  # at once, like the brush
            self._stale = True
            self._send(PadAutomatic(on=self._follower.automatic))

    def _set_brush(self, radius: int) -> None:
        """Known here at once: the canvas that tells it comes later than the next press of a key."""
        self._follower.brush = min(max(radius, MIN_BRUSH), MAX_BRUSH)
        self._stale = True
        self._send(PadBrush(radius=self._follower.brush))

    def _send(self, command: Command, worked: Callable[[Reply], None] | None = None) -> None:
        def answered(reply: Reply) -> None:
            if reply.error is not None and reply.error.code not in _GONE_QUIETLY:
                self._say(reply.error.message)
            elif worked is not None:
                worked(reply)
            else:
                self._say("")

        self._client.ask(command, answered)

    def _recognized(self, reply: Reply) -> None:
        self._say(f"read: {PadReading.model_validate(reply.data).text}")

    def _show(self, reply: Reply) -> None:
        self._say("")
        cv2.namedWindow(SHOW_TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
        cv2.imshow(SHOW_TITLE, painting.views(PadViews.model_validate(reply.data)))

    def _say(self, sentence: str) -> None:
        self._stale |= sentence != self._said
        self._said = sentence

    # what comes

    def _receive(self) -> None:
        for row, message in self._subscriber.receive():
            if row.name == "pad.canvas":
                self._stale |= self._follower.canvas(message)
            elif row.name == "pad.stroke":
                self._stale |= self._follower.change(message)
            elif row.name == "pad.reading":
                self._reading, self._stale = message, True
            elif isinstance(message, Heartbeat):
                self._presence.heard(message)
                self._set_trouble(message.reason)
        self._client.receive()
        self._client.expire()
        if not self._presence.is_there and time.monotonic() - self._opened_at > GRACE_S:
            self._set_trouble("the pad is not running; start the car with `smartcar up`")

    def _set_trouble(self, sentence: str) -> None:
        self._stale |= sentence != self._trouble
        self._trouble = sentence

    def _line(self) -> str:
        return self._trouble or self._said
