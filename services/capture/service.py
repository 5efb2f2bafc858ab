"""The capture service: keeps a reader process at work and announces the frames that it put into the ring."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from messages.bus import socket_path
from messages.capture_commands import (
    DEFAULT_SOURCE,
    CaptureCamera,
    CapturePause,
    CaptureResume,
    CaptureSnapshot,
    CaptureSource,
    Snapshot,
)
from messages.command import Command, CommandRefused
from messages.errors import ErrorCode
from messages.ring import remove_rings
from messages.text import file_name
from messages.vision import FRAME, FrameReady
from services.capture import camera_discovery
from services.capture.camera_discovery import NoCamera
from services.capture.reader_messages import (
    FrameLost,
    FrameWritten,
    Opened,
    ReaderMessage,
    ReaderSettings,
    Remark,
)
from services.capture.reader_process import FRAME_TIMEOUT_S, ReaderGone, ReaderProcess
from services.capture.source_address import public_address
from services.config import Capture
from services.service import Service

TRUSTED_AFTER_S = 10.0
"""Earlier failures of a camera are forgotten when it has delivered for this long."""
CHECK_S = 0.1
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""The pause before the next reader, by how many readers in a row have delivered no frame."""
ENDING_S = 0.5
MAX_SAID = 50

log = logging.getLogger(__name__)


class CaptureService(Service):
    """Owns the camera and the frame ring.

    The reader is a process of its own: whatever it does in `read()`, this loop goes on, sees within
    FRAME_TIMEOUT_S that no frame comes, kills it and tries again with growing pauses. Where no camera is, no
    reader is started; one that is plugged in is opened at once.
    """

    name = "capture"
    about = "takes frames from a source into the frame ring"
    section = Capture
    publishes = (FRAME,)
    handles = {
        CaptureSource: "switch",
        CapturePause: "pause",
        CaptureResume: "resume",
        CaptureCamera: "turn",
        CaptureSnapshot: "snapshot",
    }

    def start(self) -> None:
        self._reader: ReaderProcess | None = None
        self._killed: list[ReaderProcess] = []
        self._newest: FrameWritten | None = None
        self._frame_id = 0
        self._nodes = camera_discovery.nodes()
        self._is_off = False
        self.on_stop(self._end_readers)
        self.every(CHECK_S, self._check)
        self.details["source_name"] = DEFAULT_SOURCE
        self._open(self._resolve(self.settings.capture.source))

    def _end_readers(self) -> None:
        self._stop_reader()
        for killed in self._killed:
            killed.wait(ENDING_S)
        remove_rings(self._ring_folder)

    def helpers(self) -> Collection[int]:
        return () if self._reader is None else (self._reader.pid,)

    @property
    def _ring_folder(self) -> Path:
        return socket_path(self.runtime, self.name, "ring")

    # commands

    def switch(self, command: CaptureSource) -> None:
        sources = {DEFAULT_SOURCE: self.settings.capture.source, **self.settings.capture.sources}
        if command.name not in sources:
            raise CommandRefused(
                ErrorCode.UNKNOWN_SOURCE,
                f"No source is called {command.name}.",
                f"Configured are: {', '.join(sources)}.",
            )
        self.details["source_name"] = command.name
        self._open(self._resolve(sources[command.name]))

    def pause(self, _: Command) -> None:
        self._stop_reader()
        self._switch_off("The camera is switched off; switch it on with the command capture.resume.")

    def resume(self, _: Command) -> None:
        if self._is_off:
            self._open(self._source)

    def turn(self, command: CaptureCamera) -> None:
        if command.on:
            self.resume(command)
        else:
            self.pause(command)

    def snapshot(self, _: CaptureSnapshot) -> Snapshot:
        from services.capture.snapshot import take_snapshot  # so that without one OpenCV isn't loaded

        if self._reader is not None:
            self._receive()  # what came while it was loaded
        if self._newest is None:
            why = self._reason or "The source is being opened."
            raise CommandRefused(ErrorCode.NO_FRAME, "There is no frame yet.", why)
        return take_snapshot(self._ring_folder, self._newest.reference, self._frame_id)

    # the source and its reader

    def _resolve(self, source: str) -> str:
        return self.settings.capture.sources.get(source, source)

    def _open(self, source: str) -> None:
        """Take frames from `source` from now on."""
        self._stop_reader()
        self._source = source
        self._attempts = Attempts()
        if self._is_off:
            self._is_off = False
            self.report("starting")
        self._start_reader()

    def _switch_off(self, reason: str) -> None:
        self._is_off = True
        self.report("off", reason)

    def _start_reader(self) -> None:
        opened = self._source
        self.details["source"] = public_address(opened)
        if camera_discovery.is_camera(opened):
            self._nodes = camera_discovery.nodes()
            try:
                camera = camera_discovery.choose(opened, self._attempts.failures_of)
            except NoCamera as problem:
                self._fail(opened, str(problem))
                return
            opened = camera.source
            self.details["camera"] = str(camera)
        settings = ReaderSettings.of(self.settings.capture)
        self._reader = ReaderProcess(
            opened,
            settings,
            self._ring_folder,
            tuple(self._attempts.left_out),
            first_frame=self._frame_id + 1,
            view=self.details["source"],
        )
        self.on_readable(self._reader.descriptor, self._receive)

    def _stop_reader(self) -> None:
        if self._reader is None:
            return
        self._announce_the_last(self._reader)
        self.forget_readable(self._reader.descriptor)
        self._reader.kill()
        self._killed.append(self._reader)  # a driver may hold it for long; waiting would stop this loop
        self._reader = None
        self.details.pop("camera", None)

    def _announce_the_last(self, reader: ReaderProcess) -> None:
        """What it has put into the ring was seen there, so that the next reader's numbers come after them."""
        try:
            for message in reader.receive():
                if isinstance(message, FrameWritten):
                    self._announce(message)
        except ReaderGone:
            pass

    def _receive(self) -> None:
        reader = self._reader
        assert reader is not None
        try:
            for message in reader.receive():
                self._take(reader, message)
        except ReaderGone:
            self._reader_gone(reader)

    def _take(self, reader: ReaderProcess, message: ReaderMessage) -> None:
        match message:
            case FrameWritten():
                self._announce(message)
                self._attempts.failures = 0
                self._report_delivering(reader)
            case FrameLost():
                self.metrics.count(message.counter)
                said = self._attempts.said
                if message.reason and message.reason not in said and len(said) < MAX_SAID:
                    said.add(message.reason)
                    log.warning("a frame is left out: %s", message.reason)
            case Opened(camera=camera) if camera:
                self.details["camera"] = camera
            case Remark() if reader.delivering_since is not None:
                self._report_delivering(reader)

    def _announce(self, frame: FrameWritten) -> None:
        """On the bus, for those that don't watch the ring."""
        told = frame.announcement
        self._frame_id = told.frame_id
        self._newest = frame
        self.publisher.offer("frame", lambda: FrameReady(**told._asdict(), **frame.reference._asdict()))
        self.metrics.count("frames")
        self.metrics.observe("publish", (time.monotonic_ns() - told.captured_ns) / 1e6)

    def _report_delivering(self, reader: ReaderProcess) -> None:
        remark = reader.remark
        if remark.is_concern:
            self.report("degraded", remark.sentence)
        else:
            self.report(
                "ready", " ".join(filter(None, (*(f"{each}." for each in reader.refused), remark.sentence)))
            )

    def _reader_gone(self, reader: ReaderProcess) -> None:
        name = self.details["source"]
        if reader.end is None:
            self._reader_failed(reader, f"The reader of {name} crashed; it is started anew.")
        elif reader.end.problem:
            self._reader_failed(reader, reader.end.problem)
        else:
            self._stop_reader()
            self._switch_off(f"The source {name} has come to its end; capture.loop starts it again.")

    def _reader_failed(self, reader: ReaderProcess, problem: str) -> None:
        self._stop_reader()
        self.metrics.count("reader_restarts")
        if reader.end is None and reader.decoding:
            self._attempts.left_out.append(reader.decoding)
            problem = f"{problem} The photo {file_name(reader.decoding)} is left out."
        self._fail(reader.source, problem)

    def _fail(self, opened: str, problem: str) -> None:
        self._attempts.failed(opened)
        self.report("degraded", problem)

    def _check(self) -> None:
        self._killed = [reader for reader in self._killed if not reader.has_ended()]
        if self._is_off:
            return
        reader = self._reader
        if reader is None:
            if time.monotonic() >= self._attempts.retry_at or self._camera_came_or_went():
                self._start_reader()
            return
        if reader.delivering_s > TRUSTED_AFTER_S:
            self._attempts.failures_of.clear()
        name = self.details.get("camera", self.details["source"])
        if reader.is_overdue:
            problem = f"No frame from {name} for {reader.timeout_s:.1f} s; it is opened anew."
            self._reader_failed(reader, problem)
        elif reader.silent_s > FRAME_TIMEOUT_S and reader.decoding:
            self.report(self.state, f"The photo {file_name(reader.decoding)} is being decoded.")
        elif reader.silent_s > FRAME_TIMEOUT_S and self.state == "starting":
            self.report("starting", f"{name} is being opened and has delivered nothing yet.")

    def _camera_came_or_went(self) -> bool:
        if not camera_discovery.is_camera(self._source) or camera_discovery.nodes() == self._nodes:
            return False
        self._attempts = Attempts()
        return True


@dataclass
class Attempts:
    """What became of the readers of one source, so that the next one begins later, and otherwise."""

    failures: int = 0
    """Readers in a row that delivered no frame."""
    failures_of: Counter[str] = field(default_factory=Counter)
    """Failures by what was opened: of several cameras the one with the fewest is next."""
    left_out: list[str] = field(default_factory=list)
    """Names of the photos at which a reader broke."""
    said: set[str] = field(default_factory=set)
    """The reasons for frames left out that were logged: each once, and no more than MAX_SAID."""
    retry_at: float = 0.0
    """When the next reader begins, CLOCK_MONOTONIC in seconds."""

    def failed(self, opened: str) -> None:
        """Note that a reader of `opened` failed, or that there was nothing to open."""
        pause_s = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        self.failures += 1
        self.failures_of[opened] += 1
        self.retry_at = time.monotonic() + pause_s
