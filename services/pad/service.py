"""The pad service: owns the canvas, tells everyone of every stroke, has it read."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from messages.asking import Asker
from messages.command import Result
from messages.disk import why_not
from messages.health import Heartbeat, JournalCursor
from messages.pad import HEIGHT, WIDTH, PadCanvas, PadChange, PadResult
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
from messages.requests import Later
from models.ink.strokes import draw
from services.log import fields
from services.pad.answers import reading_of, views_of
from services.pad.canvas import Canvas
from services.pad.reader import Answer, BoxReader, crops
from services.pad.recognition import Recognition
from services.pad.store import CanvasStore, Kept
from services.pad.writing import written
from services.service import Service

log = logging.getLogger(__name__)

TICK_S = 0.25
STATE_EVERY_S = 0.2
"""The canvas as a whole is published no oftener."""
KEEP_AFTER_S = 0.5
"""A changed canvas is on disk this much later."""
READ_AGAIN_S = 2.0
START_S = 3.0


class PadService(Service):
    """Owns the canvas and the journal of its results."""

    name = "pad"
    has_journal = True

    def start(self) -> None:
        cv2.setNumThreads(1)
        self._store = CanvasStore(
            self.settings.paths.state / self.name / "canvas.json",
            lambda problem: self.call_soon(lambda: self._stored(problem)),
        )
        self._canvas = Canvas()
        self._ink = np.zeros((HEIGHT, WIDTH), np.uint8)
        self._disk_problem = self._unread_problem = ""
        self._canvas_due = self._keep_due = False
        self._asker = Asker(self.context, self.runtime, "recognizer")
        self._reader = BoxReader(self._asker)
        self._recognition = Recognition(
            self._reader,
            lambda: (self._canvas.revision, self._ink.copy()),
            self._show,
            self._report,
            self.after,
        )
        self._restore()
        self._declare()
        self.on_readable(self._asker.socket, self._asker.receive)
        self.subscribe({"health": self._heard, "bridge.cursor": self._on_cursor})
        self.every(TICK_S, self._tick)
        self.after(START_S, self._report_state)
        self._publish_canvas()
        self._recognition.changed(urgent=True)

    def stop(self) -> None:
        if hasattr(self, "_recognition"):
            self._keep()
        if hasattr(self, "_asker"):
            self._asker.close()
        if hasattr(self, "_store"):
            self._store.close()

    def _declare(self) -> None:
        self.handle(PadStrokeCommand, self._stroke)
        self.handle(PadUndo, lambda command: self._done(self._canvas.undo(command.author)))
        self.handle(PadErase, self._erase)
        self.handle(PadRecognize, self._recognize)
        self.handle(PadWrite, self._write)
        self.handle(PadPlay, self._play)
        self.handle(PadShow, self._view)
        self.handle(PadBrush, self._set_brush)
        self.handle(PadAutomatic, self._set_automatic)
        self.handle(PadSave, self._strokes)

    def _restore(self) -> None:
        """Take up the canvas that was kept. One that can't be read is tried again until somebody draws."""
        try:
            kept = self._store.read()
        except OSError as error:
            self._unread_problem = f"the canvas can't be read: {why_not(self._store.path, error)}"
            self.after(READ_AGAIN_S, self._restore_again)
            return
        self._unread_problem = ""
        self._canvas.restore(kept.strokes, kept.revision, kept.brush)
        self._recognition.automatic = kept.automatic
        self._redraw()

    def _restore_again(self) -> None:
        if not self._unread_problem:
            return
        self._restore()
        if not self._unread_problem:
            self._publish_canvas()
            self._recognition.changed(urgent=True)

    # commands that draw

    def _stroke(self, command: PadStrokeCommand) -> PadDone:
        stroke_id, author, points = command.stroke, command.author, command.points
        if command.phase in ("whole", "begin"):
            whole = command.phase == "whole"
            change = self._canvas.begin(stroke_id, author, command.brush, points, whole=whole)
        else:
            change = self._canvas.extend(stroke_id, author, points, end=command.phase == "end")
        return self._done(change)

    def _erase(self, command: PadErase) -> PadDone:
        change = self._canvas.erase(command.author, None if command.box is None else command.box - 1)
        return PadDone(revision=self._canvas.revision) if change is None else self._done(change)

    def _write(self, command: PadWrite) -> PadWritten:
        seed = random.randint(0, MAX_SEED) if command.seed is None else command.seed
        places, strokes = written(command.digits, seed)
        self._done(self._canvas.put("write", command.author, strokes, None, places))
        return PadWritten(revision=self._canvas.revision, seed=seed)

    def _play(self, command: PadPlay) -> Later:
        self._changed(self._canvas.put("play", command.author, command.strokes, command.brush))
        self._recognition.answered_elsewhere()
        return self._ask(reading_of)

    # commands that look

    def _recognize(self, command: PadRecognize) -> Later:
        if command.model is None:
            return self._ask(reading_of, keep=True)
        later = Later()
        answered = partial(_answer, later, reading_of, self._canvas.revision)
        self._reader.read(self._ink, answered, command.model)
        return later

    def _view(self, _: PadShow) -> Later:
        return self._ask(partial(views_of, crops(self._ink)))

    def _ask(self, result: Callable[[int, Answer], Result], *, keep: bool = False) -> Later:
        later = Later()
        self._recognition.ask(partial(_answer, later, result), keep=keep)
        return later

    def _strokes(self, _: PadSave) -> PadStrokes:
        return PadStrokes(
            revision=self._canvas.revision, strokes=tuple(stroke.message() for stroke in self._canvas.strokes)
        )

    # commands that set

    def _set_brush(self, command: PadBrush) -> PadDone:
        self._canvas.brush = command.radius
        return self._set()

    def _set_automatic(self, command: PadAutomatic) -> PadDone:
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
        if change.clear or change.removed:
            self._redraw()
        else:
            for stroke in change.added:
                draw(self._ink, stroke.points, stroke.brush)
            if change.points:
                self._draw_on(change.stroke, len(change.points))
        self.publish("pad.stroke", change)
        self.metrics.count("changes")
        self._soon()

    def _redraw(self) -> None:
        self._ink[:] = 0
        for stroke in self._canvas.strokes:
            draw(self._ink, stroke.points, stroke.brush)

    def _draw_on(self, stroke_id: str, count: int) -> None:
        """The newest points of a stroke, joined to the one before them."""
        stroke = self._canvas.stroke(stroke_id)
        draw(self._ink, stroke.points[-count - 1 :], stroke.brush)

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

    def _heard(self, heartbeat: Heartbeat) -> None:
        if heartbeat.source == "recognizer" and self._reader.heard(heartbeat):
            self._report_state()
            self._recognition.again()

    def _on_cursor(self, cursor: JournalCursor) -> None:
        assert self.journal is not None
        delivered = cursor.delivered.get(self.journal.id)
        if delivered is not None:
            self.journal.prune(delivered)

    def _tick(self) -> None:
        for change in self._canvas.let_go():
            self._done(change)
        self._asker.expire()
        if self._reader.is_there:
            self._recognition.again()
        if self.state != "starting":
            self._report_state()

    def _report_state(self) -> None:
        if problem := self.journal_problem or self._disk_problem or self._unread_problem:
            self.report("degraded", problem)
        elif not self._reader.is_there:
            self.report(
                "degraded", "the recognizer is not running: strokes are kept, and read when it is back"
            )
        else:
            self.report("ready")


def _answer(later: Later, result: Callable[[int, Answer], Result], revision: int, answer: Answer) -> None:
    """Answer who asked for a reading of the canvas."""
    if answer.problem:
        later.refuse("unread", answer.problem)
    else:
        later.answer(result(revision, answer))
