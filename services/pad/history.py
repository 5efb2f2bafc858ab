"""What was done to the canvas, by whom, so that each hand can take back its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from services.pad.stroke import Stroke

REMEMBERED = 50


@dataclass(eq=False)
class Deed:
    """One thing done: the strokes that came with it, by their ids, and those that it took away."""

    author: str
    drawn: set[str]
    removed: list[Stroke] = field(default_factory=list)


class History:
    """The last deeds, oldest first."""

    def __init__(self) -> None:
        self._deeds: deque[Deed] = deque(maxlen=REMEMBERED)

    def note(self, deed: Deed) -> None:
        self._deeds.append(deed)

    def last(self, author: str | None) -> Deed | None:
        """The newest, of this author where one is named."""
        return next((deed for deed in reversed(self._deeds) if author in (None, deed.author)), None)

    def forget(self, deed: Deed) -> None:
        """It is undone, or nothing of it is left."""
        self._deeds.remove(deed)

    def disown(self, roots: set[str]) -> None:
        """These strokes were undone: neither they nor their pieces come back when an erasing is undone."""
        for deed in self._deeds:
            deed.removed = [stroke for stroke in deed.removed if stroke.root not in roots]
