"""The canvas as a picture, kept in step with its strokes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from messages.pad import HEIGHT, WIDTH, PadChange
from models.ink.strokes import draw
from services.pad.canvas import Canvas


class Ink:
    """`pixels` is (HEIGHT, WIDTH) uint8: 255 where there is ink, 0 where there is none."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self.pixels: NDArray[np.uint8] = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.redraw()

    def change(self, change: PadChange) -> None:
        """Draw what has just changed on the canvas."""
        if change.clear or change.removed:
            self.redraw()
            return
        for stroke in change.added:
            draw(self.pixels, stroke.points, stroke.brush)
        if change.points:
            extended = self._canvas.stroke(change.stroke)
            joined = extended.points[-len(change.points) - 1 :]  # with the point before them
            draw(self.pixels, joined, extended.brush)

    def redraw(self) -> None:
        """Draw the whole canvas anew."""
        self.pixels[:] = 0
        for stroke in self._canvas.strokes:
            draw(self.pixels, stroke.points, stroke.brush)
