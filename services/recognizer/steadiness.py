"""How often the recognizer began with a model and didn't last: so that none holds it in a circle."""

from __future__ import annotations

import json
import os
from pathlib import Path

TRIES = 3
STEADY_AFTER_S = 10.0
"""Who runs for so long, didn't end because of its model's loading."""


class Steadiness:
    """Counts starts with one model in a small file. What can't be written isn't counted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def may_begin(self, digest: str) -> bool:
        """Count a start with this model; False where it has had its tries."""
        starts = self._starts(digest) + 1
        self._write({"digest": digest, "starts": starts})
        return starts <= TRIES

    def is_steady(self) -> None:
        """It runs, or was told to stop: the count begins anew."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # what the disk doesn't take now, the next start does

    def _starts(self, digest: str) -> int:
        try:
            said = json.loads(self._path.read_text())
            return int(said["starts"]) if said["digest"] == digest else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _write(self, content: dict[str, str | int]) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(content))
            os.replace(fresh, self._path)
        except OSError:
            pass
