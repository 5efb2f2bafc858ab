"""The canvas on disk: one small file, replaced as a whole, written beside the loop."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from messages.disk import make_private, why_not
from messages.pad import BRUSH, Brush, PadStroke

MAX_FILE_BYTES = 256 << 10

log = logging.getLogger(__name__)


class Kept(BaseModel):
    """What survives a restart."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    revision: int = Field(default=0, ge=0)
    brush: Brush = BRUSH
    automatic: bool = True
    strokes: tuple[PadStroke, ...] = ()


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
            return Kept.model_validate_json(content)
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
        fresh = self.path.with_name(f".{self.path.name}.new")
        try:
            make_private(self.path.parent)
            if self._is_unread:
                aside = self.path.with_name(f"{self.path.name}.unread-{int(time.time())}")
                self.path.rename(aside)
                self._is_unread = False
                log.warning("the canvas that could not be read is kept as %s", aside)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(kept.model_dump_json().encode())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            self._done(f"the canvas can't be kept, and a restart would lose it: {why_not(self.path, error)}")
        else:
            self._done("")
