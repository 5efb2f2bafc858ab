"""The canvas on disk: one small file, replaced as a whole, written beside the loop."""

from __future__ import annotations

import logging
import os
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
        self._path = path
        self._done = done
        self._thread = ThreadPoolExecutor(1, "canvas")

    def read(self) -> Kept:
        """What was kept; nothing where there is no file, or one that can't be used."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise ValueError("it is too large")
            return Kept.model_validate_json(content)
        except FileNotFoundError:
            return Kept()
        except (OSError, ValueError) as error:
            problem = "it is damaged" if isinstance(error, ValidationError) else str(error)
            log.warning(
                "the canvas kept in %s can't be used (%s); beginning with an empty one", self._path, problem
            )
            return Kept()

    def write(self, kept: Kept) -> None:
        """Replace the file, soon."""
        self._thread.submit(self._write, kept)

    def close(self) -> None:
        """Wait until what was handed over is written."""
        self._thread.shutdown()

    def _write(self, kept: Kept) -> None:
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            make_private(self._path.parent)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(kept.model_dump_json().encode())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            self._done(f"the canvas can't be kept, and a restart would lose it: {why_not(self._path, error)}")
        else:
            self._done("")
