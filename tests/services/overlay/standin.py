"""A small car for the page to show: real publishers, ring, journal and commands, and a known scene."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import zmq
from numpy.typing import NDArray

from messages.bus import Publisher, socket_path
from messages.capture_commands import CapturePause, CaptureResume, CaptureSource
from messages.command import CommandRefused
from messages.health import Heartbeat, ServiceState
from messages.journal import Journal
from messages.message import new_ulid
from messages.ring import RingWriter
from messages.rpc.server import CommandServer
from messages.vision import Box, Code, Digit, FrameReady, ModelInfo, Reading, ReadingEvent
from models.ink import synthetic_handwriting as hand

WIDTH, HEIGHT = 640, 480
MODEL = ModelInfo(name="standin-cnn", version="4.2.0", digest="ab" * 32)
PAPER_BGR = (215, 228, 233)
SIGNS = {"06234": (70, 120, 56), "918": (380, 300, 48)}
"""Text to (x, y) of its first digit and the pitch of its digits, in pixels."""


def box_of_digit(text: str, place: int) -> Box:
    x, y, pitch = SIGNS[text]
    return Box(x=x + place * pitch, y=y, width=round(pitch * 0.8), height=round(pitch * 1.2))


def code(text: str, confidences: tuple[float, ...]) -> Code:
    """The code `text` where the scene shows it."""
    digits = tuple(
        Digit(
            label=label,
            confidence=confidence,
            runner_up="7" if label != "7" else "1",
            runner_up_confidence=round(1 - confidence, 4),
            box=box_of_digit(text, place),
        )
        for place, (label, confidence) in enumerate(zip(text, confidences, strict=True))
    )
    first, last = digits[0].box, digits[-1].box
    box = Box(x=first.x, y=first.y, width=last.x + last.width - first.x, height=first.height)
    return Code(text=text, confidence=min(confidences), box=box, digits=digits)


DETAILS = {"recognizer": {"model": "digits 0.1.0"}}
CODES = (code("06234", (0.999, 0.97, 0.93, 0.995, 0.81)), code("918", (0.99, 0.62, 0.98)))


def draw_scene() -> NDArray[np.uint8]:
    """Two paper cards with handwriting in a dim room, (HEIGHT, WIDTH, 3) BGR."""
    ramp = np.linspace(70, 130, WIDTH, dtype=np.float32)[None, :, None]
    ramp = np.broadcast_to(ramp * np.array([0.75, 0.85, 0.9]), (HEIGHT, WIDTH, 3))
    frame = np.ascontiguousarray(ramp.astype(np.uint8))
    for text, (x, y, pitch) in SIGNS.items():
        corner = (x - 30, y - 30)
        far = (x + len(text) * pitch + 20, y + round(pitch * 1.2) + 30)
        cv2.rectangle(frame, (corner[0] + 5, corner[1] + 7), (far[0] + 5, far[1] + 7), (48, 52, 55), -1)
        cv2.rectangle(frame, corner, far, PAPER_BGR, -1)
        for place, strokes in enumerate(hand.write(text, seed=4)):
            box = box_of_digit(text, place)
            for stroke in hand.into_box(strokes, box.x, box.y, box.width, box.height):
                points = np.array(stroke, dtype=np.float32).round().astype(np.int32)
                cv2.polylines(frame, [points], False, (92, 52, 30), 4, cv2.LINE_AA)
    return frame


class StandIn(threading.Thread):
    """Capture and recognizer in one thread. Its switches may be set while it runs."""

    def __init__(self, runtime: Path, state: Path, hertz: float = 30.0) -> None:
        super().__init__(daemon=True)
        self.runtime, self.state_folder, self.hertz = runtime, state, hertz
        self.sending = True
        self.reading = True
        self.noisy = False
        """Frames of noise, which make large pictures."""
        self.beating = {"capture", "recognizer"}
        self.states: dict[str, tuple[ServiceState, str]] = {
            "capture": ("ready", ""),
            "recognizer": ("ready", ""),
        }
        self.source = "scene:"
        self.frames = 0
        self.commands: list[str] = []
        self._events: list[ReadingEvent] = []
        self._done = threading.Event()

    def event(
        self, text: str, phase: str = "new", event_id: str = "", seen_s: float = 0.0, reason: str = ""
    ) -> str:
        """Publish an event, through the journal; returns its id."""
        event_id = event_id or new_ulid()
        now = datetime.now(UTC)
        self._events.append(
            ReadingEvent(
                event_id=event_id,
                phase=phase,  # type: ignore[arg-type]  # pydantic checks it
                end_reason=reason,  # type: ignore[arg-type]
                text=text,
                confidence=0.97,
                digit_confidences=(0.97,) * len(text),
                first_seen=datetime.fromtimestamp(now.timestamp() - seen_s, UTC),
                last_seen=now,
                frames=12,
                frame_id=self.frames,
                box=Box(x=1, y=1, width=9, height=9),
                model=MODEL,
                latency_ms=6.5,
            )
        )
        return event_id

    @property
    def waiting(self) -> bool:
        """Whether events are still to be published."""
        return bool(self._events)

    def run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        publishers = {name: Publisher(context, self.runtime, name) for name in ("capture", "recognizer")}
        journal = Journal(
            self.state_folder / "recognizer" / "journal.sqlite3", max_bytes=1 << 20, max_age_s=86400
        )
        publishers["recognizer"].journal = journal
        commands = CommandServer(context, self.runtime, "capture")
        commands.handle(CapturePause, self._pause)
        commands.handle(CaptureResume, self._resume)
        commands.handle(CaptureSource, self._switch)
        ring = RingWriter(socket_path(self.runtime, "capture", "ring"), (HEIGHT, WIDTH))
        scene = draw_scene()
        noise = np.random.default_rng(1).integers(0, 256, scene.shape, dtype=np.uint8)
        started = beaten = time.monotonic()
        due = started
        while not self._done.is_set():
            for publisher in publishers.values():
                publisher.answer_subscriptions()
            commands.serve()
            while self._events:
                publishers["recognizer"].publish("reading.event", self._events.pop(0))
            now = time.monotonic()
            if now >= due:
                due += 1 / self.hertz
                if self.sending:
                    self._send_frame(publishers, ring, noise if self.noisy else scene)
            if now - beaten >= 0.5:
                beaten = now
                self._beat(publishers, now - started)
            self._done.wait(max(0.0, min(due, beaten + 0.5) - time.monotonic()) or 0.001)
        commands.close()
        for publisher in publishers.values():
            publisher.close()
        journal.close()
        ring.close()
        context.destroy(linger=0)

    def _send_frame(
        self, publishers: dict[str, Publisher], ring: RingWriter, scene: NDArray[np.uint8]
    ) -> None:
        self.frames += 1
        captured_ns = time.monotonic_ns()
        reference = ring.write(scene)
        if reference is None:
            return
        publishers["capture"].publish(
            "frame",
            FrameReady(
                frame_id=self.frames,
                captured_ns=captured_ns,
                view=self.source,
                ring=reference.ring,
                slot=reference.slot,
                generation=reference.generation,
                height=HEIGHT,
                width=WIDTH,
            ),
        )
        if not self.reading:
            return
        publishers["recognizer"].publish(
            "reading",
            Reading(
                frame_id=self.frames,
                captured_ns=captured_ns,
                width=WIDTH,
                height=HEIGHT,
                codes=CODES,
                model=MODEL,
                latency_ms=(time.monotonic_ns() - captured_ns) / 1e6,
            ),
        )

    def _beat(self, publishers: dict[str, Publisher], uptime_s: float) -> None:
        for name in self.beating:
            state, reason = self.states[name]
            publishers[name].publish(
                "health",
                Heartbeat(
                    state=state,
                    reason=reason,
                    pid=os.getpid(),
                    uptime_s=uptime_s,
                    rates={"frames": self.hertz},
                    counters={"frames": self.frames},
                    latency_ms={"publish.p50": 0.31, "publish.p95": 0.62},
                    memory_mb=41.5,
                    processor_percent=7.0,
                    restarts=2,
                    details=DETAILS.get(name, {}) | ({"source": self.source} if name == "capture" else {}),
                ),
            )

    def _pause(self, _: CapturePause) -> None:
        self.commands.append("pause")
        self.sending = False
        self.states["capture"] = (
            "off",
            "The camera is switched off; switch it on with the command capture.resume.",
        )

    def _resume(self, _: CaptureResume) -> None:
        self.commands.append("resume")
        self.sending = True
        self.states["capture"] = ("ready", "")

    def _switch(self, command: CaptureSource) -> None:
        self.commands.append(f"source {command.name}")
        if command.name == "broken":
            raise CommandRefused("unknown-source", "No source is called broken. Configured are: default.")
        self.source = f"folder:{command.name}"

    def finish(self) -> None:
        self._done.set()
        self.join(5)
