"""The recognizer service: reads the newest frame, tracks what it reads into events, reads given boxes."""

from __future__ import annotations

import gc
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import models
from messages.bus import socket_path
from messages.command import CommandRefused
from messages.errors import CannotStart, ErrorCode
from messages.health import Heartbeat
from messages.message import new_ulid
from messages.recognizer_commands import (
    BoxReading,
    RecognizerAdopt,
    RecognizerDrop,
    RecognizerModel,
    RecognizerRead,
    RecognizerTry,
    TrialReport,
)
from messages.ring import FrameGone, RingReader
from messages.rpc.server import DeferredReply
from messages.vision import READING, READING_EVENT, READING_IMAGE, FrameReady, Reading
from models.refusal import Refusal
from models.store_reader import PREFIX
from services.config import Recognizer
from services.log import fields
from services.recognizer.crash_guard import STEADY_AFTER_S, TRIES, CrashGuard
from services.recognizer.open_events import OpenEvents
from services.service import Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from services.recognizer.model import LoadedModel
    from services.recognizer.reading import Line
    from services.recognizer.reports import EndReason
    from services.recognizer.track import TrackEvent

FACTORY_BUNDLE = Path(models.__file__).parent / "factory"
IDLE_AFTER_S = 3.0
TICK_S = 0.1

log = logging.getLogger(__name__)


class RecognizerService(Service):
    """Owns the model in memory and the journal of reading events."""

    name = "recognizer"
    about = "reads digits in the newest frame"
    section = Recognizer
    publishes = (READING, READING_EVENT, READING_IMAGE)
    handles = {
        RecognizerRead: "read_boxes",
        RecognizerTry: "attempt",
        RecognizerAdopt: "adopt",
        RecognizerDrop: "drop",
    }
    peers = {"capture": ()}

    _ring: RingReader | None = None
    _last_frame: FrameReady | None = None

    def start(self) -> None:
        import cv2

        from services.recognizer.model import keep_memory
        from services.recognizer.model_switcher import ModelSwitcher
        from services.recognizer.track import Tracker

        cv2.setNumThreads(1)  # the other cores belong to the other services
        keep_memory()
        recognizer = self.settings.recognizer
        self._model_problem = ""
        self._crash_guard = CrashGuard(self.settings.paths.state / self.name / "starts.json")
        self.on_stop(self._stop)
        unusable: dict[str, str] = {}
        first = self._first_model(unusable)
        self._models = ModelSwitcher(
            first, self.settings.store, self._load, self.call_soon, self._model_changed, unusable
        )
        self._name_model()
        self._tracker = Tracker(
            decide_frames=recognizer.decide_frames, forget_ns=round(recognizer.forget_seconds * 1e9)
        )
        self._event_ids: dict[int, str] = {}
        self._ring = RingReader(socket_path(self.runtime, "capture", "ring"))
        self._heard_at = time.monotonic()
        self._capture_off = ""
        assert self.journal is not None
        self._open_events = OpenEvents(self.journal)
        for event in self._open_events.interrupted():
            self._open_events.note(self.publish("reading.event", event))
        self.subscribe({"frame": self._on_frame})
        self.every(TICK_S, self._tick)
        gc.collect()
        gc.freeze()  # what was loaded stays; collections then look only at what a frame leaves
        self._report_state()

    def _stop(self) -> None:
        if not self.crashed:
            self._crash_guard.reset()
        if self._last_frame is not None:
            self._publish_events(self._last_frame, self._tracker.close(), None, "interrupted")
        if self._ring is not None:
            self._ring.close()

    # the model

    def _first_model(self, unusable: dict[str, str]) -> LoadedModel:
        """The configured model, else the store's active one; where that can't be used, the shipped one."""
        configured, active = self.settings.recognizer.bundle, self.settings.store / "active"
        try:
            if configured is not None:
                return self._load(configured)
            if os.path.isdir(active):
                self._count_start(active, unusable)
                return self._load(active)
        except Refusal as error:
            self._model_problem = self._unusable(error)
        return self._shipped()

    def _count_start(self, active: Path, unusable: dict[str, str]) -> None:
        """Raises Refusal where the recognizer began with this model again and again, and never lasted."""
        folder = active.resolve()
        if folder == (active.parent / "factory").resolve():
            return  # there is no other to begin with
        if not self._crash_guard.may_begin(folder.name):
            sentence = f"the recognizer ended {TRIES} times soon after it began with it."
            unusable[folder.name.removeprefix(PREFIX)] = sentence
            raise Refusal(ErrorCode.CRASHED, sentence)
        self.after(STEADY_AFTER_S, self._crash_guard.reset)

    def _load(self, folder: Path) -> LoadedModel:
        from services.recognizer.model import load

        return load(folder, self.settings.recognizer)

    def _shipped(self) -> LoadedModel:
        from models.inference.gate import GateError

        try:
            return self._load(FACTORY_BUNDLE)
        except Refusal as error:
            raise CannotStart(
                f"The shipped model can't be used ({error}); install smartcar again."
            ) from error
        except GateError as error:
            raise CannotStart(str(error)) from error

    def _unusable(self, error: Exception) -> str:
        configured = self.settings.recognizer.bundle
        if configured is not None:
            what, remedy = f"The model {configured}", "correct recognizer.bundle"
        else:
            what, remedy = "The active model", "smartcar model rollback takes the one before"
        return f"{what} can't be used: {error} Reading goes on with the shipped one; {remedy}."

    def _fall_back(self, error: Exception) -> None:
        """Read with the active model again; where that was it, with the shipped one. The state says why.

        Whatever is raised between a frame and its reading is the failure of the model that reads, unless that
        is the shipped one: then it is our own, and raised again.
        """
        if self._models.candidate is not None:
            self._models.fail(error, self._models.active)
            return
        shipped = self._shipped()
        if shipped.info.digest == self._models.active.info.digest:
            raise error
        self._models.fail(error, shipped)
        self._model_problem = self._unusable(error)

    def _model_changed(self) -> None:
        info = self._models.reading.info
        self._model_problem = ""
        self._name_model()
        about = fields(model=self.details["model"], digest=info.digest)
        log.info("reading with %s %s (%s)", info.name, info.version, info.digest[:12], extra=about)

    def attempt(self, command: RecognizerTry) -> TrialReport:
        """Begin a trial, or tell how it is going."""
        self._must_not_be_fixed()
        return self._models.attempt(command)

    def drop(self, command: RecognizerDrop) -> RecognizerModel:
        """End a trial, if there is one."""
        self._must_not_be_fixed()
        return self._models.drop(command)

    def adopt(self, command: RecognizerAdopt) -> RecognizerModel | DeferredReply:
        self._must_not_be_fixed()
        return self._models.adopt(command)

    def _name_model(self) -> None:
        """The heartbeat says which model reads; the updater compares its digest with the store's."""
        info = self._models.reading.info
        self.details |= {"model": f"{info.name} {info.version}", "digest": info.digest}

    def _must_not_be_fixed(self) -> None:
        """Raises CommandRefused where the settings name the model."""
        if self.settings.recognizer.bundle is not None:
            raise CommandRefused(
                ErrorCode.FIXED,
                "The model is set by recognizer.bundle.",
                "Take that out of the settings to have others.",
            )

    # frames

    def _on_frame(self, frame: FrameReady) -> None:
        self._heard_at = time.monotonic()
        self._count_skipped(frame)
        self._last_frame = frame
        assert self._ring is not None
        try:
            with self._ring.frame(frame) as pixels:
                self._read_frame(frame, pixels)
        except FrameGone:
            self.metrics.count("frames_gone")
        self._report_state()

    def _read_frame(self, frame: FrameReady, pixels: NDArray[np.uint8]) -> None:
        lines, reading = self._read(frame, pixels)
        self.publish("reading", reading)
        events = self._tracker.observe(
            lines, frame.captured_ns, size=(frame.width, frame.height), view=frame.view
        )
        self._publish_events(frame, events, pixels)
        self.metrics.count("frames")
        self.metrics.observe("capture_to_reading", reading.latency_ms)

    def _read(self, frame: FrameReady, pixels: NDArray[np.uint8]) -> tuple[list[Line], Reading]:
        """What the model in use reads; where it fails at it, what another does: no frame stays unread."""
        from services.recognizer.reports import reading_of

        model = self._models.reading
        try:
            lines = model.reader.read(pixels)
            reading = reading_of(frame, lines, model.info)
        except Exception as error:
            self._fall_back(error)
            return self._read(frame, pixels)
        self._models.count(sum(len(line.digits) for line in lines))
        return lines, reading

    def peer_heard(self, beat: Heartbeat, *, came: bool) -> None:
        """Frames that aren't wanted are not missed."""
        self._capture_off = beat.reason if beat.state == "off" else ""

    def _count_skipped(self, frame: FrameReady) -> None:
        last = self._last_frame
        if last is not None and last.boot_id == frame.boot_id and frame.frame_id > last.frame_id + 1:
            self.metrics.count("frames_skipped", frame.frame_id - last.frame_id - 1)

    def _tick(self) -> None:
        """Codes leave also when no more frames come."""
        self._models.tick()
        if self._last_frame is not None and time.monotonic() - self._heard_at > TICK_S:
            self._publish_events(self._last_frame, self._tracker.expire(time.monotonic_ns()), None)
        self._report_state()

    def _report_state(self) -> None:
        if problem := self._model_problem or self.journal_problem:
            self.report("degraded", problem)
        elif time.monotonic() - self._heard_at <= IDLE_AFTER_S:
            self.report("ready")
        elif self._capture_off and self.presence["capture"].is_there:
            self.report("ready", f"No frames come. {self._capture_off}")
        else:
            self.report("degraded", "No frames come; see the state of capture.")

    # events and their journal

    def _publish_events(
        self,
        frame: FrameReady,
        events: list[TrackEvent],
        pixels: NDArray[np.uint8] | None,
        end_reason: EndReason = "gone",
    ) -> None:
        from services.recognizer.reports import event_of, image_of

        info = self._models.reading.info
        for event in events:
            if event.kind == "new":
                self._event_ids[event.track_id] = new_ulid()
            event_id = self._event_ids[event.track_id]
            if event.kind == "end":
                del self._event_ids[event.track_id]
            told = event_of(event, event_id, frame, info, end_reason)
            self._open_events.note(self.publish("reading.event", told))
            about = fields(event=event_id, frame=frame.frame_id, model=f"{info.name} {info.version}")
            log.info("%s %s, %.0f %% sure", event.kind, event.text, 100 * event.confidence, extra=about)
            self.metrics.count(f"events_{event.kind}")
            if event.kind == "new" and pixels is not None:
                self.publish("reading.image", image_of(event, event_id, pixels))

    # given boxes

    def read_boxes(self, command: RecognizerRead) -> BoxReading | DeferredReply:
        """Read given boxes with the model that reads frames, or with another one."""
        if command.model is not None:
            return self._read_beside(command, command.model)
        model = self._models.reading
        try:
            reading = model.boxes.read(command)
        except Exception as error:
            self._fall_back(error)
            raise CommandRefused("model", f"{error} Ask again: another model reads now.") from error
        self._models.count(sum(digit is not None for digit in reading.digits))
        return reading

    def _read_beside(self, command: RecognizerRead, which: str) -> DeferredReply:
        """With a model that may be another than the one that reads frames."""
        later = DeferredReply()

        def read(model: LoadedModel | Exception) -> None:
            try:
                if isinstance(model, Exception):
                    raise model
                later.answer(model.boxes.read(command))
            except Exception as error:  # whatever is wrong with that model, it isn't the one in use
                later.refuse("unusable", f"{error}")

        if which == "active":
            read(self._models.active)
        elif which != "candidate":
            self._models.beside(which, read)
        elif self._models.candidate is not None:
            read(self._models.candidate)
        else:
            later.refuse("no-candidate", "no model is on trial")
        return later
