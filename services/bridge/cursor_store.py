"""How far each journal has been delivered, kept across restarts: a small file, replaced as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

NOTE_EVERY = 128
"""Advances between two writes, when they come fast."""


class CursorStore:
    """The highest entry of each journal, by the journal's id, that the broker acknowledged without a gap.

    What was saved last is what producers may rely on to forget: announce nothing that `save` has not kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._delivered: dict[str, int] = _read(path)
        self._saved = dict(self._delivered)
        self._advances = 0

    @property
    def saved(self) -> dict[str, int]:
        """What is on disk, and stays there across a power cut."""
        return dict(self._saved)

    @property
    def changed(self) -> bool:
        return self._delivered != self._saved

    def get(self, journal: str) -> int | None:
        """The cursor of a journal; None for one never seen."""
        return self._delivered.get(journal)

    def advance(self, journal: str, number: int) -> None:
        """Note, in memory, that `number` and all before it were delivered."""
        self._delivered[journal] = max(number, self._delivered.get(journal, 0))
        self._advances += 1
        if self._advances >= NOTE_EVERY:
            self._note()

    def forget(self, journal: str) -> None:
        """A journal that is no more."""
        self._delivered.pop(journal, None)

    def save(self) -> None:
        """Write to disk, whole or not at all, also across a power cut. Raises OSError."""
        wanted = dict(self._delivered)
        self._write(durable=True)
        self._saved = wanted

    def _note(self) -> None:
        """Write without waiting for the disk, so that a kill in the midst of a backlog repeats little."""
        try:
            self._write(durable=False)
        except OSError:
            pass  # `save` says it

    def _write(self, *, durable: bool) -> None:
        self._advances = 0
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"delivered": self._delivered}, file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        fresh.replace(self._path)
        if durable:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _read(path: Path) -> dict[str, int]:
    """What the file says; nothing where there is none or it is damaged: then all is sent again."""
    try:
        delivered = json.loads(path.read_text(encoding="utf-8"))["delivered"]
        return {str(journal): int(number) for journal, number in delivered.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
