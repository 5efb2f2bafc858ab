"""The last edits of the canvas and their authors, so that each author can undo their own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from services.pad.stroke import Stroke

REMEMBERED = 50


@dataclass(eq=False)
class Edit:
    """One change of the canvas: the ids of the strokes that it drew, and the strokes that it removed."""

    author: str
    drawn: set[str]
    removed: list[Stroke] = field(default_factory=list)


class History:
    """The last REMEMBERED edits, oldest first."""

    def __init__(self) -> None:
        self._edits: deque[Edit] = deque(maxlen=REMEMBERED)

    def note(self, edit: Edit) -> None:
        self._edits.append(edit)

    def last(self, author: str | None) -> Edit | None:
        """The newest, of this author where one is named."""
        return next((edit for edit in reversed(self._edits) if author in (None, edit.author)), None)

    def forget(self, edit: Edit) -> None:
        """It is undone, or nothing of it is left."""
        self._edits.remove(edit)

    def forget_stroke(self, stroke_id: str) -> None:
        """A stroke is cancelled: the edit that drew it is none."""
        for edit in tuple(self._edits):
            if edit.drawn == {stroke_id}:
                self._edits.remove(edit)

    def disown(self, roots: set[str]) -> None:
        """These strokes were undone: neither they nor their pieces come back when an erasing is undone."""
        for edit in self._edits:
            edit.removed = [stroke for stroke in edit.removed if stroke.root not in roots]
