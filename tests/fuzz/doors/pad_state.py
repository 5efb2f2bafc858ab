"""What the pad reads from its disk: the canvas that it kept."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from messages.message import encode
from messages.pad import MAX_CANVAS_BYTES, PadCanvas
from services.pad.canvas import Canvas
from services.pad.ink import Ink
from services.pad.store import CanvasStore
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed


class PadStateDoor(Door):
    name = "pad-state"

    def open(self, folder: Path) -> None:
        self._path = folder / "canvas.json"

    def feed(self, chance: random.Random) -> None:
        self._path.write_bytes(_file(chance))
        store = CanvasStore(self._path, lambda problem: None)
        try:
            kept = store.read()
            canvas = Canvas()
            canvas.restore(kept.strokes, kept.revision, kept.brush)
            Ink(canvas).redraw()
            strokes = tuple(stroke.message() for stroke in canvas.strokes)
            state = PadCanvas(
                revision=canvas.revision, brush=canvas.brush, automatic=kept.automatic, text="-----",
                read_revision=0, strokes=strokes,
            )  # fmt: skip
            if len(encode(state)) > MAX_CANVAS_BYTES:
                raise DoorFailed("the canvas is larger than a message may be")
            for stroke in strokes[:3]:
                canvas.erase("me", chance.randrange(5))
                canvas.undo(None)
                canvas.erase(stroke.author[:32] or "me", None)
        except DoorFailed:
            raise
        except Exception as error:
            raise DoorFailed(
                f"{type(error).__name__}: {error}, at {self._path.read_bytes()[:500]!r}"
            ) from error
        finally:
            store.close()

    def settle(self) -> None:
        """Each input has been dealt with when `feed` returns."""

    def close(self) -> None:
        """Nothing outlives an input."""


def _file(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return hostile.document(chance, {"revision": 7, "brush": 4, "automatic": True, "strokes": []})
    strokes = [_stroke(chance) for _ in range(chance.choice((0, 1, 2, 2, 30)))]
    content = {"revision": 7, "brush": 4, "strokes": strokes}
    return json.dumps(content).encode(errors="surrogatepass")


def _stroke(chance: random.Random) -> dict[str, Any]:
    number = chance.choice((60, 60.5, -1, 1e308, -1e308, 10**400, float("nan"), float("inf"), 600))
    stroke: dict[str, Any] = {
        "id": chance.choice(("a", "b", "", "x" * 500, "\ud800")),
        "author": chance.choice(("me", "", "x" * 500)),
        "brush": chance.choice((4, 4, 0, -3, 10**6)),
        "began": chance.choice(("2026-01-01T00:00:00Z", "0001-01-01T00:00:00", 0)),
        "points": chance.choice(([[60, 60], [61, 70]], [], [[60, number]], [[60, 60]] * 3000)),
        "finished": True,
    }
    if chance.random() < 0.2:
        stroke[chance.choice(sorted(stroke))] = hostile.value(chance)
    return stroke


DOOR = PadStateDoor
