"""What a journal's disk refused, from one process to the next: a file elsewhere, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

Waiting = tuple[str, float, bytes]
"""An entry to be: topic, Unix time, payload."""


def take_shelter(file: Path, waiting: Iterable[Waiting]) -> None:
    """Keep them for the next process, as far as there is room."""
    try:
        file.write_text(json.dumps([(topic, wall, payload.decode()) for topic, wall, payload in waiting]))
    except (OSError, UnicodeDecodeError):
        file.unlink(missing_ok=True)


def shelter_left(file: Path) -> list[Waiting]:
    """What the last process kept, and nothing a second time."""
    try:
        found = [
            (str(topic), float(wall), str(text).encode())
            for topic, wall, text in json.loads(file.read_text())
        ]
        file.unlink()
    except (OSError, ValueError, TypeError):
        return []
    return found
