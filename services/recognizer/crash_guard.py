"""Counts how often the recognizer began with a model and did not last, so that no model holds it in a loop.

guard = CrashGuard(path)
if guard.may_begin(digest): ...    # load the model of that digest
guard.reset()                      # it has run for STEADY_AFTER_S, or was asked to stop
"""

from __future__ import annotations

import json
from pathlib import Path

from messages import durable

TRIES = 3
STEADY_AFTER_S = 10.0
"""A process that has run for this long did not end because its model was loaded."""


class CrashGuard:
    """Counts starts with one model in a small file. What the disk does not take is not counted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def may_begin(self, digest: str) -> bool:
        """Count a start with this model; False where it has had its tries."""
        starts = self._starts(digest) + 1
        self._write({"digest": digest, "starts": starts})
        return starts <= TRIES

    def reset(self) -> None:
        """Begin the count anew."""
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
        try:
            durable.replace_file(self._path, json.dumps(content).encode())
        except OSError:
            pass
