"""Reads the frames of a camera one after another: where codes are known, it looks around them first.

A look at the whole frame costs far more than one around a code. So while codes are in view, only each third
frame is looked at whole: what is new is read two frames later at most. Where a look around a code misses one
of its digits, the whole frame is looked at, too.
"""

from __future__ import annotations

from models.geometry import BoundingBox, intersection
from services.recognizer.pipeline import Pixels, Reader
from services.recognizer.reading import Line

EVERY = 3
"""So many frames on, the whole frame is looked at again."""
_LONGEST_NS = 250_000_000
"""As much time later it is in any case: a slow camera's next frame may show something else."""
_ROOM = 0.5
"""Around a line, in heights of its digits."""
_LARGEST = 0.25
"""Known codes that take more of the frame, with what is around them, are no reason to look at them alone."""


class FrameReader:
    """Remembers where codes were in the last frame. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._looked_by: tuple[Reader, tuple[int, ...]] | None = None
        self._looked_ns = self._since = 0

    def read(self, reader: Reader, frame: Pixels, captured_ns: int) -> list[Line]:
        """As `Reader.read`, for the camera's next frame and when it was taken, by any one clock.

        Another reader or frames of another size begin with a look at the whole frame.
        """
        self._since += 1
        looks_by = reader, frame.shape
        parts = [_around(line) for line in self._lines]
        whole = (0, 0, frame.shape[1], frame.shape[0])
        if (
            parts
            and self._since < EVERY
            and looks_by == self._looked_by
            and 0 <= captured_ns - self._looked_ns < _LONGEST_NS
            and sum(intersection(part, whole) for part in parts) <= _LARGEST * whole[2] * whole[3]
        ):
            lines = reader.read(frame, parts)
            if self._holds_all_known(lines):
                self._lines = lines
                return lines
        self._lines = reader.read(frame)
        self._looked_by, self._looked_ns, self._since = looks_by, captured_ns, 0
        return self._lines

    def _holds_all_known(self, lines: list[Line]) -> bool:
        """Whether each known line has one of its own about its place, with no fewer digits."""
        left = list(lines)
        for known in self._lines:
            place = _around(known)
            line = max(left, key=lambda line: intersection(line.box, place), default=None)
            if line is None or len(line.digits) < len(known.digits) or not intersection(line.box, place):
                return False
            left.remove(line)
        return True


def _around(line: Line) -> BoundingBox:
    """The line's box with room on each side."""
    x, y, width, height = line.box
    room = round(_ROOM * max(digit.box[3] for digit in line.digits))
    return x - room, y - room, width + 2 * room, height + 2 * room
