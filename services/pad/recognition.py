"""Decides when the canvas is read: while somebody draws, after the last stroke, and when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from messages.message import new_ulid
from messages.pad import BOXES, EMPTY, PadResult
from services.pad.canvas_reader import Answer, CanvasReader, Ink

PERIOD_S = 0.05
"""The shortest time between two readings while somebody draws."""
SETTLE_S = 1.0
"""A reading becomes a result when the canvas has not changed for this long."""


class Clock(Protocol):
    """The service's one-shot timers."""

    def __call__(self, delay_s: float, handler: Callable[[], None]) -> None: ...


class Recognition:
    """Keeps the newest reading. One automatic read is under way at a time, and one follows the last change.

    `look()` gives the canvas's revision and ink. `show(result)` is for every reading, `report(result)` for
    those that others may want to keep: asked for, or standing since the hand rests.
    """

    def __init__(
        self,
        reader: CanvasReader,
        look: Callable[[], tuple[int, Ink]],
        show: Callable[[PadResult], None],
        report: Callable[[PadResult], None],
        after: Clock,
    ) -> None:
        self._reader = reader
        self._look, self._show, self._report, self._after = look, show, report, after
        self.automatic = True
        self.newest = PadResult(
            event_id="", revision=0, text=EMPTY * BOXES, digits=(), automatic=True, latency_ms=0
        )
        self._reported = -1
        self._changed_ns = 0
        self._stale = self._under_way = self._pump_due = self._settle_due = False
        self._asked_at = float("-inf")

    def changed(self, *, urgent: bool) -> None:
        """The canvas is another one now. `urgent`: a stroke has ended, so there may be no further change."""
        self._changed_ns = time.monotonic_ns()
        self._stale = True
        if self.automatic:
            self._pump(0.0 if urgent else PERIOD_S)

    def answered_elsewhere(self) -> None:
        """The canvas is another one now, and whoever changed it asks for the reading of it."""
        self._changed_ns = time.monotonic_ns()
        self._stale = False

    def switch(self, *, on: bool) -> None:
        """Read while somebody draws, or only when asked."""
        self.automatic = on
        if on and self._stale:
            self._pump(0.0)

    def again(self) -> None:
        """The recognizer has come back: read what could not be read."""
        if self.newest.problem:
            self._stale = True
            if self.automatic:
                self._pump(0.0)

    def ask(self, answered: Callable[[int, Answer], None], *, keep: bool) -> None:
        """Read the canvas as it is now, for somebody who wants to know. `keep`: it is worth reporting."""
        revision, ink = self._look()
        asked_ns = time.monotonic_ns()

        def understood(answer: Answer) -> None:
            result = self._take(revision, answer, asked_ns, automatic=False)
            if keep and not result.problem:
                self._reported = revision
                self._report(result)
            answered(revision, answer)

        self._reader.read(ink, understood)

    def _pump(self, period_s: float = PERIOD_S) -> None:
        if not self.automatic or not self._stale or self._under_way:
            return
        wait_s = period_s - (time.monotonic() - self._asked_at)
        if wait_s > 0:
            if not self._pump_due:
                self._pump_due = True
                self._after(wait_s, self._pump_is_due)
            return
        self._stale, self._under_way = False, True
        self._asked_at = time.monotonic()
        revision, ink = self._look()
        changed_ns = self._changed_ns
        self._reader.read(ink, lambda answer: self._read(revision, answer, changed_ns))

    def _pump_is_due(self) -> None:
        self._pump_due = False
        self._pump()

    def _read(self, revision: int, answer: Answer, changed_ns: int) -> None:
        self._under_way = False
        self._settling = self._take(revision, answer, changed_ns, automatic=True)
        if not self._settle_due:
            self._settle_due = True
            self._after(SETTLE_S, self._settle)
        self._pump()

    def _take(self, revision: int, answer: Answer, since_ns: int, *, automatic: bool) -> PadResult:
        result = PadResult(
            event_id=new_ulid(),
            revision=revision,
            text=answer.text,
            digits=answer.digits,
            automatic=automatic,
            model=answer.model,
            problem=answer.problem,
            latency_ms=max(0.0, round((time.monotonic_ns() - since_ns) / 1e6, 3)),
        )
        if revision >= self.newest.revision:
            self.newest = result
            self._show(result)
        return result

    def _settle(self) -> None:
        self._settle_due = False
        result = self._settling
        if result.revision != self._look()[0] or result.revision == self._reported:
            return  # drawn on since, and that reading comes here again; or reported when somebody asked
        if result.problem or result.text == EMPTY * BOXES:
            return
        if (time.monotonic_ns() - self._changed_ns) / 1e9 < SETTLE_S:
            self._settle_due = True
            self._after(SETTLE_S, self._settle)
            return
        self._reported = result.revision
        self._report(result)
