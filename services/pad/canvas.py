"""The canvas: its strokes, who may change them, and the `PadChange` that each change makes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from messages.command import CommandRefused
from messages.errors import ErrorCode
from messages.pad import (
    BRUSH,
    MAX_CANVAS_BYTES,
    MAX_CANVAS_POINTS,
    MAX_STROKE_POINTS,
    PadChange,
    PadStroke,
)
from services.pad.cutting import Point, column, cut
from services.pad.history import Edit, History
from services.pad.stroke import Stroke, fine, weight

LET_GO_AFTER_S = 2.0
"""A stroke that nobody extends for this long is finished."""
MAX_OPEN = 64
_ROOM = MAX_CANVAS_BYTES - 4096  # the rest is for what a PadCanvas says besides


class Canvas:
    """All methods that change it return the change, or raise CommandRefused and change nothing."""

    def __init__(self) -> None:
        self.revision = 0
        self.brush = BRUSH
        self._strokes: dict[str, Stroke] = {}
        self._history = History()
        self._bytes = self._points = 0
        self._made = 0

    @property
    def strokes(self) -> list[Stroke]:
        """From the first drawn to the last."""
        return list(self._strokes.values())

    def stroke(self, stroke_id: str) -> Stroke:
        """Raises KeyError where there is none."""
        return self._strokes[stroke_id]

    def restore(self, strokes: Iterable[PadStroke], revision: int, brush: int) -> None:
        """Put back what an earlier run kept; each stroke can be undone again."""
        self.revision, self.brush = revision, brush
        for each in strokes:
            stroke = Stroke(each.id, each.author, each.brush, each.began, list(each.points))
            self._add([stroke])
            self._history.note(Edit(each.author, {each.id}))

    # drawing

    def begin(
        self, stroke_id: str, author: str, brush: int | None, points: Sequence[Point], *, whole: bool = False
    ) -> PadChange:
        """Set the pen down; with `whole`, lift it at once."""
        if stroke_id in self._strokes:
            raise CommandRefused(
                ErrorCode.STROKE_EXISTS, f"There is a stroke {stroke_id} already.", "Choose another id."
            )
        if not whole and sum(not each.finished for each in self._strokes.values()) >= MAX_OPEN:
            raise CommandRefused(
                ErrorCode.TOO_MANY_HANDS, f"{MAX_OPEN} strokes are being drawn already.", "Finish one first."
            )
        stroke = self._new(stroke_id, author, brush, points)
        stroke.finished = whole
        self._make_room([stroke])
        self._add([stroke])
        self._history.note(Edit(author, {stroke_id}))
        return self._changed("draw" if whole else "begin", author, added=(stroke.message(),))

    def extend(self, stroke_id: str, author: str, points: Sequence[Point], *, end: bool) -> PadChange:
        """Go on with a stroke; with `end`, lift the pen."""
        stroke = self._own(stroke_id, author)
        if stroke.finished:
            raise CommandRefused(ErrorCode.FINISHED, f"The stroke {stroke_id} is finished.", "Begin another.")
        if len(stroke.points) + len(points) > MAX_STROKE_POINTS:
            raise CommandRefused(
                ErrorCode.STROKE_FULL,
                f"A stroke has at most {MAX_STROKE_POINTS} points.",
                "End it and begin another.",
            )
        more = fine([stroke.points[-1], *points])[1:]
        grown = weight(more)
        self._check_room(grown, len(more))
        stroke.points.extend(more)
        stroke.weight += grown
        self._bytes += grown
        self._points += len(more)
        stroke.touched = time.monotonic()
        stroke.finished = end
        return self._changed(
            "end" if end else "extend", author, stroke=stroke_id, points=tuple(more), finished=end
        )

    def cancel(self, stroke_id: str, author: str) -> PadChange:
        """Take a stroke away as if it had never been drawn, finished or not: nothing is left to undo."""
        stroke = self._own(stroke_id, author)
        self._history.forget_stroke(stroke_id)
        self._remove([stroke])
        return self._changed("undo", author, removed=(stroke_id,))

    def let_go(self) -> list[PadChange]:
        """Finish the strokes whose hand has vanished."""
        long_ago = time.monotonic() - LET_GO_AFTER_S
        changes = []
        for stroke in self._strokes.values():
            if not stroke.finished and stroke.touched < long_ago:
                stroke.finished = True
                changes.append(self._changed("end", stroke.author, stroke=stroke.id, finished=True))
        return changes

    # all at once

    def put(
        self,
        kind: Literal["write", "play"],
        author: str,
        strokes: Sequence[Sequence[Point]],
        brush: int | None,
        boxes: Sequence[int] | None = None,
    ) -> PadChange:
        """Clear the given boxes (None: everything) and draw these strokes."""
        removed, pieces = self._cleared(boxes)
        fresh = [self._new(self._name(), author, brush, points) for points in strokes]
        return self._exchange(kind, author, removed, [*pieces, *fresh], clear=boxes is None)

    def erase(self, author: str, index: int | None) -> PadChange | None:
        """Clear one box, 0 to 4, or everything; None where there was nothing."""
        removed, pieces = self._cleared(None if index is None else [index])
        if not removed:
            return None
        return self._exchange("erase", author, removed, pieces, clear=index is None)

    def undo(self, author: str | None) -> PadChange:
        """Take back the last thing done, by this author where one is named."""
        while (edit := self._history.last(author)) is not None:
            going = [stroke for stroke in self._strokes.values() if edit.drawn & {stroke.id, stroke.root}]
            coming = [stroke for stroke in edit.removed if stroke.id not in self._strokes]
            if not going and not coming:
                self._history.forget(edit)  # others have erased it since
                continue
            self._make_room(coming, gone=going)
            self._history.forget(edit)
            self._history.disown(edit.drawn)
            self._remove(going)
            self._add(coming)
            return self._changed(
                "undo",
                author or edit.author,
                removed=tuple(stroke.id for stroke in going),
                added=tuple(stroke.message() for stroke in coming),
            )
        whose = "" if author is None else f" of {author}"
        raise CommandRefused(ErrorCode.NOTHING_TO_UNDO, f"There is nothing{whose} to undo.")

    # within

    def _own(self, stroke_id: str, author: str) -> Stroke:
        stroke = self._strokes.get(stroke_id)
        if stroke is None:
            raise CommandRefused(
                ErrorCode.NO_SUCH_STROKE,
                f"There is no stroke {stroke_id}: it was erased, undone or never begun.",
            )
        if stroke.author != author:
            raise CommandRefused(
                ErrorCode.NOT_YOURS, f"The stroke {stroke_id} is being drawn by {stroke.author}."
            )
        return stroke

    def _cleared(self, boxes: Sequence[int] | None) -> tuple[list[Stroke], list[Stroke]]:
        """The strokes that go when `boxes` are cleared, and what remains of them."""
        if boxes is None:
            return self.strokes, []
        going: list[Stroke] = []
        staying: list[Stroke] = []
        for stroke in self._strokes.values():
            remains: list[list[Point]] = [stroke.points]
            for index in boxes:
                left, right = column(index, stroke.brush)
                remains = [piece for part in remains for piece in _cut(part, left, right)]
            if remains != [stroke.points]:
                going.append(stroke)
                staying += [
                    replace(stroke, id=self._name(), points=piece, finished=True, root=stroke.root)
                    for piece in remains
                ]
        return going, staying

    def _exchange(
        self,
        kind: Literal["write", "play", "erase"],
        author: str,
        removed: list[Stroke],
        added: list[Stroke],
        *,
        clear: bool,
    ) -> PadChange:
        self._make_room(added, gone=removed)
        self._remove(removed)
        self._add(added)
        for stroke in removed:
            stroke.finished = True
        self._history.note(Edit(author, {stroke.id for stroke in added}, removed))
        return self._changed(
            kind,
            author,
            clear=clear,
            removed=() if clear else tuple(stroke.id for stroke in removed),
            added=tuple(stroke.message() for stroke in added),
        )

    def _new(self, stroke_id: str, author: str, brush: int | None, points: Sequence[Point]) -> Stroke:
        if len(points) > MAX_STROKE_POINTS:
            raise CommandRefused(ErrorCode.STROKE_FULL, f"A stroke has at most {MAX_STROKE_POINTS} points.")
        kept = fine(points)
        return Stroke(stroke_id, author, brush or self.brush, datetime.now(UTC), kept)

    def _name(self) -> str:
        """A name that no client chooses, since it holds a space."""
        self._made += 1
        return f"{self.revision + 1} {self._made}"

    def _make_room(self, coming: Sequence[Stroke], gone: Sequence[Stroke] = ()) -> None:
        self._check_room(
            sum(stroke.weight for stroke in coming) - sum(stroke.weight for stroke in gone),
            sum(len(stroke.points) for stroke in coming) - sum(len(stroke.points) for stroke in gone),
        )

    def _check_room(self, more_bytes: int, more_points: int) -> None:
        if self._bytes + more_bytes > _ROOM or self._points + more_points > MAX_CANVAS_POINTS:
            raise CommandRefused(
                ErrorCode.CANVAS_FULL,
                f"The canvas is full ({self._points} points).",
                "Erase something first.",
            )

    def _add(self, strokes: Iterable[Stroke]) -> None:
        for stroke in strokes:
            self._strokes[stroke.id] = stroke
            self._bytes += stroke.weight
            self._points += len(stroke.points)

    def _remove(self, strokes: Iterable[Stroke]) -> None:
        for stroke in strokes:
            del self._strokes[stroke.id]
            self._bytes -= stroke.weight
            self._points -= len(stroke.points)

    def _changed(
        self,
        kind: Literal["begin", "extend", "end", "draw", "erase", "undo", "write", "play"],
        author: str,
        **what: object,
    ) -> PadChange:
        self.revision += 1
        return PadChange.model_validate({"revision": self.revision, "kind": kind, "author": author, **what})


def _cut(points: list[Point], left: float, right: float) -> list[list[Point]]:
    pieces = cut(points, left, right)
    return [points] if pieces is None else pieces
