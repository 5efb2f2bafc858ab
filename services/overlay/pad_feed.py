"""The pad's messages for the page: the whole canvas once, then each change and each reading."""

from __future__ import annotations

from typing import Any

from messages.pad import MAX_BRUSH, MAX_STROKE_POINTS, MIN_BRUSH, PadCanvas, PadChange, PadResult, PadStroke
from messages.pad_follower import PadFollower
from services.overlay import board

CHANGES_EVERY_S = 0.015
"""Changes within this many seconds go to the page in one message."""


class PadFeed:
    """The pad's messages for the page, made from the bus while somebody looks.

    A page that misses changes (it was slow, and only the newest message of a kind waits for it) sees that
    from their numbers, and asks for the canvas again.
    """

    def __init__(self) -> None:
        self._follower = PadFollower()
        self._changes: list[PadChange] = []
        self._boot_id = ""
        self.reading = ""
        """What stands in the boxes, for the page; empty where nothing was read yet."""

    def take_canvas(self, canvas: PadCanvas) -> bool:
        """Returns whether the page should have it whole: it isn't what the changes led to."""
        follower = self._follower
        known = (self._boot_id, follower.in_step, follower.revision, follower.brush, follower.automatic)
        follower.canvas(canvas)
        if canvas.boot_id != self._boot_id:
            self._boot_id = canvas.boot_id
            self._changes.clear()
        now = (canvas.boot_id, follower.in_step, follower.revision, follower.brush, follower.automatic)
        return known != now

    def take_change(self, change: PadChange) -> bool:
        """Returns whether there is a change to pass on."""
        if not self._follower.change(change):
            return False
        if change.clear:
            self._changes.clear()
        self._changes.append(change)
        return True

    def take_reading(self, result: PadResult) -> str:
        content = result.model_dump(
            mode="json", include={"revision", "text", "digits", "automatic", "problem", "model"}
        )
        self.reading = board.message("pad.reading", content)
        return self.reading

    def changes(self) -> str:
        """The changes since the last call, as one message."""
        changes, self._changes = self._changes, []
        return board.message(
            "pad.change", {"boot": self._boot_id, "changes": [_change(each) for each in changes]}
        )

    def canvas(self) -> str | None:
        """The whole canvas as a message; None while it isn't known."""
        follower = self._follower
        if not follower.in_step:
            return None
        return board.message(
            "pad",
            {
                "boot": self._boot_id,
                "revision": follower.revision,
                "brush": follower.brush,
                "automatic": follower.automatic,
                "limits": {"brush": (MIN_BRUSH, MAX_BRUSH), "points": MAX_STROKE_POINTS},
                "strokes": [_stroke(each) for each in follower.strokes.values()],
            },
        )


def _stroke(stroke: PadStroke) -> dict[str, Any]:
    return stroke.model_dump(mode="json", exclude={"began", "author"})


def _change(change: PadChange) -> dict[str, Any]:
    content = change.model_dump(
        mode="json", include={"revision", "clear", "removed", "stroke", "points", "finished"}
    )
    return content | {"added": [_stroke(each) for each in change.added]}
