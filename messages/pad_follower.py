"""The canvas as a client sees it: kept in step with the pad from what it publishes."""

from __future__ import annotations

from messages.pad import BRUSH, EMPTY, PadCanvas, PadChange, PadStroke

MOST_WAITING = 10_000


class PadFollower:
    """Give it every `pad.canvas` and `pad.stroke` that comes, in any order between the two.

    Late joiners begin with the canvas and go on with the changes after it. Where a change is missing, it
    waits for the next canvas: `in_step` says whether what it shows is whole.
    """

    def __init__(self) -> None:
        self.strokes: dict[str, PadStroke] = {}
        self.revision = 0
        self.brush = BRUSH
        self.automatic = True
        self.text = EMPTY
        self.in_step = False
        self._boot_id = ""
        self._waiting: list[PadChange] = []

    def canvas(self, message: PadCanvas) -> bool:
        """Take the whole canvas; returns whether anything looks different now."""
        fresh = message.boot_id != self._boot_id
        if fresh:
            self._waiting = [change for change in self._waiting if change.boot_id == message.boot_id]
        settings = (message.brush, message.automatic, message.text)
        differs = settings != (self.brush, self.automatic, self.text)
        self.brush, self.automatic, self.text = settings
        if not fresh and self.in_step and message.revision <= self.revision:
            return differs
        self._boot_id, self.revision, self.in_step = message.boot_id, message.revision, True
        self.strokes = {stroke.id: stroke for stroke in message.strokes}
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            self.change(change)
        return True

    def change(self, message: PadChange) -> bool:
        """Take a change; returns whether anything looks different now."""
        if message.boot_id != self._boot_id:
            self.in_step = False  # the pad was started anew: its canvas comes before long
        elif message.revision <= self.revision:
            return False
        if not self.in_step or message.revision != self.revision + 1:
            self.in_step = False
            self._waiting = [*self._waiting[-MOST_WAITING:], message]
            return False
        self._apply(message)
        return True

    def _apply(self, change: PadChange) -> None:
        self.revision = change.revision
        if change.clear:
            self.strokes.clear()
        for gone in change.removed:
            self.strokes.pop(gone, None)
        for stroke in change.added:
            self.strokes[stroke.id] = stroke
        grown = self.strokes.get(change.stroke)
        if grown is not None:
            self.strokes[change.stroke] = grown.model_copy(
                update={"points": grown.points + change.points, "finished": change.finished}
            )
