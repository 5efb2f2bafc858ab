"""The pad service: owns the canvas, publishes every stroke, and has the canvas read."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from messages.command import Result
from messages.disk import why_not
from messages.errors import ErrorCode
from messages.health import Heartbeat
from messages.pad import (
    PAD_CANVAS,
    PAD_READING,
    PAD_RESULT,
    PAD_STROKE,
    PadCanvas,
    PadChange,
    PadResult,
)
from messages.pad_commands import (
    MAX_SEED,
    PadAutomatic,
    PadBrush,
    PadDone,
    PadErase,
    PadPlay,
    PadRecognize,
    PadSave,
    PadShow,
    PadStrokeCommand,
    PadStrokes,
    PadUndo,
    PadWrite,
    PadWritten,
)
from messages.recognizer_commands import RecognizerRead
from messages.rpc.server import DeferredReply
from services.log import fields
from services.service import Service

if TYPE_CHECKING:
    from services.pad.canvas_reader import Answer

log = logging.getLogger(__name__)

TICK_S = 0.25
STATE_EVERY_S = 0.2
"""The shortest time between two publications of the whole canvas."""
KEEP_AFTER_S = 0.5
"""A changed canvas is written to disk after this time."""
READ_AGAIN_S = 2.0
START_S = 3.0


class PadService(Service):
    """Owns the canvas and the journal of its results."""

    name = "pad"
    about = "keeps the drawing pad, and has it read"
    publishes = (PAD_STROKE, PAD_CANVAS, PAD_READING, PAD_RESULT)
    handles = {
        PadStrokeCommand: "stroke",
        PadUndo: "undo",
        PadErase: "erase",
        PadRecognize: "recognize",
        PadWrite: "write",
        PadPlay: "play",
        PadShow: "view",
        PadBrush: "set_brush",
        PadAutomatic: "set_automatic",
        PadSave: "strokes",
    }
    peers = {"recognizer": (RecognizerRead,)}

    def start(self) -> None:
        import cv2

        from services.pad.canvas import Canvas
        from services.pad.canvas_reader import CanvasReader
        from services.pad.ink import Ink
        from services.pad.recognition import Recognition
        from services.pad.store import CanvasStore

        cv2.setNumThreads(1)
        self._store = CanvasStore(
            self.settings.paths.state / self.name / "canvas.json",
            lambda problem: self.call_soon(lambda: self._stored(problem)),
        )
        self.on_stop(self._store.close)
        self._canvas = Canvas()
        self._ink = Ink(self._canvas)
        self._disk_problem = self._unread_problem = ""
        self._canvas_due = self._keep_due = False
        self._recognizer = self.presence["recognizer"]
        self._reader = CanvasReader(self.ask, self._recognizer)
        self._recognition = Recognition(
            self._reader,
            lambda: (self._canvas.revision, self._ink.pixels.copy()),
            self._show,
            self._report,
            self.after,
        )
        self._restore()
        self.on_stop(self._keep)
        self.every(TICK_S, self._tick)
        self.after(START_S, self._report_state)
        self._publish_canvas()
        self._recognition.changed(urgent=True)

    def _restore(self) -> None:
        """Take up the canvas that was kept. One that can't be read is tried again until somebody draws."""
        try:
            kept = self._store.read()
        except OSError as error:
            self._unread_problem = f"The canvas can't be read: {why_not(self._store.path, error)}."
            self.after(READ_AGAIN_S, self._restore_again)
            return
        self._unread_problem = ""
        self._canvas.restore(kept.strokes, kept.revision, kept.brush)
        self._recognition.automatic = kept.automatic
        self._ink.redraw()

    def _restore_again(self) -> None:
        if not self._unread_problem:
            return
        self._restore()
        if not self._unread_problem:
            self._publish_canvas()
            self._recognition.changed(urgent=True)

    # commands that draw

    def stroke(self, command: PadStrokeCommand) -> PadDone:
        stroke_id, author, points = command.stroke, command.author, command.points
        if command.phase == "cancel":
            change = self._canvas.cancel(stroke_id, author)
        elif command.phase in ("whole", "begin"):
            whole = command.phase == "whole"
            change = self._canvas.begin(stroke_id, author, command.brush, points, whole=whole)
        else:
            change = self._canvas.extend(stroke_id, author, points, end=command.phase == "end")
        return self._done(change)

    def undo(self, command: PadUndo) -> PadDone:
        return self._done(self._canvas.undo(command.author))

    def erase(self, command: PadErase) -> PadDone:
        change = self._canvas.erase(command.author, None if command.box is None else command.box - 1)
        return PadDone(revision=self._canvas.revision) if change is None else self._done(change)

    def write(self, command: PadWrite) -> PadWritten:
        from services.pad.writing import written

        seed = random.randint(0, MAX_SEED) if command.seed is None else command.seed
        places, strokes = written(command.digits, seed)
        self._done(self._canvas.put("write", command.author, strokes, None, places))
        return PadWritten(revision=self._canvas.revision, seed=seed)

    def play(self, command: PadPlay) -> DeferredReply:
        from services.pad.answers import reading_of

        self._changed(self._canvas.put("play", command.author, command.strokes, command.brush))
        self._recognition.answered_elsewhere()
        return self._ask(reading_of)

    # commands that look

    def recognize(self, command: PadRecognize) -> DeferredReply:
        from services.pad.answers import reading_of

        if command.model is None:
            return self._ask(reading_of, keep=True)
        later = DeferredReply()
        answered = partial(_answer, later, reading_of, self._canvas.revision)
        self._reader.read(self._ink.pixels, answered, command.model)
        return later

    def view(self, _: PadShow) -> DeferredReply:
        from services.pad.answers import views_of
        from services.pad.canvas_reader import crops

        return self._ask(partial(views_of, crops(self._ink.pixels)))

    def _ask(self, result: Callable[[int, Answer], Result], *, keep: bool = False) -> DeferredReply:
        later = DeferredReply()
        self._recognition.ask(partial(_answer, later, result), keep=keep)
        return later

    def strokes(self, _: PadSave) -> PadStrokes:
        return PadStrokes(
            revision=self._canvas.revision, strokes=tuple(stroke.message() for stroke in self._canvas.strokes)
        )

    # commands that set

    def set_brush(self, command: PadBrush) -> PadDone:
        self._canvas.brush = command.radius
        return self._set()

    def set_automatic(self, command: PadAutomatic) -> PadDone:
        self._recognition.switch(on=command.on)
        return self._set()

    def _set(self) -> PadDone:
        self._soon()
        return PadDone(revision=self._canvas.revision)

    # after a change

    def _done(self, change: PadChange) -> PadDone:
        self._changed(change)
        self._recognition.changed(urgent=change.kind not in ("begin", "extend"))
        return PadDone(revision=change.revision)

    def _changed(self, change: PadChange) -> None:
        self._ink.change(change)
        self.publish("pad.stroke", change)
        self.metrics.count("changes")
        self._soon()

    def _soon(self) -> None:
        """Publish the canvas and keep it, both before long."""
        self._unread_problem = ""
        if not self._canvas_due:
            self._canvas_due = True
            self.after(STATE_EVERY_S, self._canvas_is_due)
        if not self._keep_due:
            self._keep_due = True
            self.after(KEEP_AFTER_S, self._keep)

    def _canvas_is_due(self) -> None:
        self._canvas_due = False
        self._publish_canvas()

    def _publish_canvas(self) -> None:
        newest = self._recognition.newest
        self.publish(
            "pad.canvas",
            PadCanvas(
                revision=self._canvas.revision,
                brush=self._canvas.brush,
                automatic=self._recognition.automatic,
                text=newest.text,
                read_revision=newest.revision,
                strokes=tuple(stroke.message() for stroke in self._canvas.strokes),
            ),
        )

    def _keep(self) -> None:
        from services.pad.store import Kept

        self._keep_due = False
        if self._unread_problem:
            return  # an untouched canvas must not take the place of the one that was kept
        self._store.write(
            Kept(
                revision=self._canvas.revision,
                brush=self._canvas.brush,
                automatic=self._recognition.automatic,
                strokes=tuple(stroke.message() for stroke in self._canvas.strokes),
            )
        )

    def _stored(self, problem: str) -> None:
        self._disk_problem = problem
        if problem and not self._keep_due:
            self._keep_due = True
            self.after(5.0, self._keep)
        self._report_state()

    # results

    def _show(self, result: PadResult) -> None:
        self.publish("pad.reading", result)
        self.metrics.count("readings")
        if not result.problem:
            self.metrics.observe("stroke_to_reading", result.latency_ms)
        if not self._canvas_due:
            self._canvas_due = True
            self.after(STATE_EVERY_S, self._canvas_is_due)

    def _report(self, result: PadResult) -> None:
        self.publish("pad.result", result)
        model = f"{result.model.name} {result.model.version}" if result.model is not None else ""
        log.info("read %s", result.text, extra=fields(event=result.event_id, model=model))
        self.metrics.count("results")

    # the others

    def peer_heard(self, beat: Heartbeat, *, came: bool) -> None:
        if came:
            self._report_state()
            self._recognition.again()

    def _tick(self) -> None:
        for change in self._canvas.let_go():
            self._done(change)
        if self._recognizer.is_there:
            self._recognition.again()
        if self.state != "starting":
            self._report_state()

    def _report_state(self) -> None:
        if problem := self.journal_problem or self._disk_problem or self._unread_problem:
            self.report("degraded", problem)
        elif not self._recognizer.is_there:
            self.report(
                "degraded", "The recognizer is not running: strokes are kept, and read when it is back."
            )
        else:
            self.report("ready")


def _answer(
    later: DeferredReply, result: Callable[[int, Answer], Result], revision: int, answer: Answer
) -> None:
    """Answer who asked for a reading of the canvas."""
    if answer.problem:
        later.refuse(ErrorCode.UNREAD, answer.problem)
    else:
        later.answer(result(revision, answer))
