"""The canvas on disk: one small file, replaced as a whole by a thread of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from messages import durable
from messages.disk import make_private, why_not
from messages.pad import (
    BRUSH,
    MAX_CANVAS_BYTES,
    MAX_CANVAS_POINTS,
    Author,
    Brush,
    PadStroke,
    Points,
)

MAX_REVISION = 1 << 53
MAX_FILE_BYTES = MAX_CANVAS_BYTES
"""A larger file is damaged: the strokes of a canvas fit into a PadCanvas, which has more fields."""

log = logging.getLogger(__name__)


class _CheckedStroke(PadStroke):
    """A stroke that the pad itself may have written."""

    id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+$")]
    author: Author
    brush: Brush
    points: Annotated[Points, Field(min_length=1)]


class Kept(BaseModel):
    """What survives a restart."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    revision: int = Field(default=0, ge=0, le=MAX_REVISION)
    brush: Brush = BRUSH
    automatic: bool = True
    strokes: tuple[PadStroke, ...] = ()


class _CheckedCanvas(Kept):
    """The content of a file, which anyone may have written."""

    strokes: tuple[_CheckedStroke, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> _CheckedCanvas:
        if len({stroke.id for stroke in self.strokes}) < len(self.strokes):
            raise ValueError("two strokes have the same id")
        if sum(len(stroke.points) for stroke in self.strokes) > MAX_CANVAS_POINTS:
            raise ValueError(f"it has more than {MAX_CANVAS_POINTS} points")
        return self


class CanvasStore:
    """Reads the file once and replaces it in a thread of its own: a slow card holds up no stroke.

    `done(problem)` is called in that thread after each writing, with an empty string or a sentence.
    """

    def __init__(self, path: Path, done: Callable[[str], None]) -> None:
        self.path = path
        self._is_unread = False
        self._done = done
        self._thread = ThreadPoolExecutor(1, "canvas")

    def read(self) -> Kept:
        """What was kept; nothing where there is no file, or a damaged one.

        Raises OSError where the file can't be read now. One that was not read, or couldn't be used, isn't
        lost: `write` moves it aside first.
        """
        self._is_unread = True
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            content = None
        self._is_unread = False
        if content is None:
            return Kept()
        try:
            if len(content) > MAX_FILE_BYTES:
                raise ValueError("it is too large")
            return _CheckedCanvas.model_validate_json(content)
        except ValueError as error:
            problem = "it is damaged" if isinstance(error, ValidationError) else str(error)
            self._is_unread = True
            log.warning(
                "the canvas kept in %s can't be used (%s); the pad begins with an empty one",
                self.path,
                problem,
            )
            return Kept()

    def write(self, kept: Kept) -> None:
        """Replace the file, soon."""
        self._thread.submit(self._write, kept)

    def close(self) -> None:
        """Wait until what was handed over is written."""
        self._thread.shutdown()

    def _write(self, kept: Kept) -> None:
        try:
            make_private(self.path.parent)
            if self._is_unread:
                aside = self.path.with_name(f"{self.path.name}.unread-{int(time.time())}")
                self.path.rename(aside)
                self._is_unread = False
                log.warning("the canvas that could not be read is kept as %s", aside)
            durable.replace_file(self.path, kept.model_dump_json().encode())
        except OSError as error:
            self._done(f"The canvas can't be kept, and a restart would lose it: {why_not(self.path, error)}.")
        else:
            self._done("")
