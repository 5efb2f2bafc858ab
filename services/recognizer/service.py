"""The recognizer service: reads the newest frame, tracks what it reads into events, reads given boxes."""

from __future__ import annotations

import gc
import logging
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import models
from messages.bus import socket_path
from messages.commands import BoxReading, CommandRefused, RecognizerRead
from messages.health import JournalCursor
from messages.message import MalformedMessage, decode, new_ulid
from messages.ring import FrameGone, RingReader
from messages.vision import FrameReady, ModelInfo, ReadingEvent
from models.bundle import Bundle, BundleError
from models.gate import GateError
from models.runtime import Classifier, ModelError
from services.recognizer.boxes import BoxReader
from services.recognizer.pipeline import Reader
from services.recognizer.reports import EndReason, event_of, image_of, reading_of
from services.recognizer.track import Tracker, TrackEvent
from services.service import CannotStart, Service

FACTORY_BUNDLE = Path(models.__file__).parent / "factory"
IDLE_AFTER_S = 3.0
TICK_S = 0.1
_EVENTS_LOOKED_BACK = 1000

log = logging.getLogger(__name__)


class RecognizerService(Service):
    """Owns the model in memory and the journal of reading events."""

    name = "recognizer"
    has_journal = True
    _ring: RingReader | None = None
    _last_frame: FrameReady | None = None

    def start(self) -> None:
        cv2.setNumThreads(1)  # the other cores belong to the other services
        recognizer = self.settings.recognizer
        self._model_problem = ""
        self._load_model()
        self._tracker = Tracker(
            decide_frames=recognizer.decide_frames, forget_ns=round(recognizer.forget_seconds * 1e9)
        )
        self._event_ids: dict[int, str] = {}
        self._ring = RingReader(socket_path(self.runtime, "capture", "ring"))
        self._heard_at = time.monotonic()
        self._end_interrupted_events()
        self.handle(RecognizerRead, self._read_boxes)
        self.subscribe({"frame": self._on_frame, "bridge.cursor": self._on_cursor})
        self.every(TICK_S, self._tick)
        gc.collect()
        gc.freeze()  # what was loaded stays; collections then look only at what a frame leaves
        self._report_state()

    def stop(self) -> None:
        if self._last_frame is not None:
            self._publish_events(self._last_frame, self._tracker.close(), None, "interrupted")
        if self._ring is not None:
            self._ring.close()

    # the model

    def _load_model(self) -> None:
        """Read with the configured bundle; where that can't be used, with the shipped one."""
        configured = self.settings.recognizer.bundle
        if configured is None:
            self._read_with(FACTORY_BUNDLE)
            return
        try:
            self._read_with(configured)
        except (BundleError, ModelError) as error:
            self._fall_back(error)

    def _fall_back(self, error: Exception) -> None:
        """Read with the shipped model from here on; the state says why."""
        configured = self.settings.recognizer.bundle
        if configured is None or self._model_problem:
            raise CannotStart(f"the shipped model can't be used ({error}); install smartcar again")
        self._model_problem = (
            f"the model {configured} can't be used: {error} Reading goes on with the shipped one; "
            f"correct recognizer.bundle"
        )
        self._read_with(FACTORY_BUNDLE)

    def _read_with(self, folder: Path) -> None:
        bundle = Bundle.load(folder)
        classifier = Classifier(bundle)
        manifest, settings = bundle.manifest, self.settings.recognizer
        self._model = ModelInfo(name=manifest.name, version=manifest.version, digest=bundle.digest)
        try:
            self._reader = Reader(classifier, certainty=settings.certainty, min_digits=settings.min_digits)
            self._boxes = BoxReader(classifier, self._model, settings.certainty)
        except GateError as error:
            raise CannotStart(str(error)) from error
        self.details["model"] = f"{manifest.name} {manifest.version}"

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
        except ModelError as error:
            self._fall_back(error)
        self._report_state()

    def _read_frame(self, frame: FrameReady, pixels: NDArray[np.uint8]) -> None:
        lines = self._reader.read(pixels)
        reading = reading_of(frame, lines, self._model)
        self.publish("reading", reading)
        events = self._tracker.observe(
            lines, frame.captured_ns, size=(frame.width, frame.height), view=frame.view
        )
        self._publish_events(frame, events, pixels)
        self.metrics.count("frames")
        self.metrics.observe("capture_to_reading", reading.latency_ms)

    def _count_skipped(self, frame: FrameReady) -> None:
        last = self._last_frame
        if last is not None and last.boot_id == frame.boot_id and frame.frame_id > last.frame_id + 1:
            self.metrics.count("frames_skipped", frame.frame_id - last.frame_id - 1)

    def _tick(self) -> None:
        """Codes leave also when no more frames come; what the disk refused is tried again."""
        assert self.journal is not None
        if self.journal.backlog:
            self.journal.flush()
        if self._last_frame is not None and time.monotonic() - self._heard_at > TICK_S:
            self._publish_events(self._last_frame, self._tracker.expire(time.monotonic_ns()), None)
        self._report_state()

    def _report_state(self) -> None:
        assert self.journal is not None
        if self._model_problem:
            self.report("degraded", self._model_problem)
        elif self.journal.backlog:
            self.report(
                "degraded",
                "events can't be written to the journal; is the disk full? They are kept in memory",
            )
        elif time.monotonic() - self._heard_at > IDLE_AFTER_S:
            self.report("degraded", "no frames come; see the state of capture")
        else:
            self.report("ready")

    # events and their journal

    def _publish_events(
        self,
        frame: FrameReady,
        events: list[TrackEvent],
        pixels: NDArray[np.uint8] | None,
        end_reason: EndReason = "gone",
    ) -> None:
        for event in events:
            if event.kind == "new":
                self._event_ids[event.track_id] = new_ulid()
            event_id = self._event_ids[event.track_id]
            if event.kind == "end":
                del self._event_ids[event.track_id]
            self.publish("reading.event", event_of(event, event_id, frame, self._model, end_reason))
            self.metrics.count(f"events_{event.kind}")
            if event.kind == "new" and pixels is not None:
                self.publish("reading.image", image_of(event, event_id, pixels))

    def _end_interrupted_events(self) -> None:
        """End what a killed predecessor left open: whoever heard `new` will hear `end`."""
        assert self.journal is not None
        opened: dict[str, ReadingEvent] = {}
        for entry in self.journal.tail("reading.event", _EVENTS_LOOKED_BACK):
            try:
                event = decode(ReadingEvent, entry.payload)
            except MalformedMessage as error:  # of another version of smartcar
                log.warning("an old event can't be read and is left as it is: %s", error)
                continue
            if event.phase == "end":
                opened.pop(event.event_id, None)
            else:
                opened[event.event_id] = event
        for event in opened.values():
            ended = event.model_copy(update={"phase": "end", "end_reason": "interrupted"})
            self.publish("reading.event", ended)

    def _on_cursor(self, cursor: JournalCursor) -> None:
        assert self.journal is not None
        delivered = cursor.delivered.get(self.journal.id)
        if delivered is not None:
            self.journal.prune(delivered)

    # given boxes

    def _read_boxes(self, command: RecognizerRead) -> BoxReading:
        try:
            return self._boxes.read(command)
        except ModelError as error:
            self._fall_back(error)
            raise CommandRefused("model", f"{error} Ask again: the shipped model reads now") from error
