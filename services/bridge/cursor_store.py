"""How far each journal has been delivered, kept across restarts: a small file, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from messages import durable

NOTE_EVERY = 128
"""Advances between two writes, when they come fast."""


class _Content(BaseModel):
    """What is in the file, by journal: the number of the entry delivered last, and its fingerprint."""

    delivered: dict[str, Annotated[int, Field(ge=0, lt=1 << 62)]] = {}
    fingerprints: dict[str, str] = {}


class CursorStore:
    """The highest entry of each journal, by the journal's id, that the broker acknowledged without a gap.

    What was saved last is what producers may rely on to forget: announce nothing that `save` has not kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = _read(path)
        self._delivered, self._fingerprints = content.delivered, content.fingerprints
        self._saved = dict(self._delivered)
        self._followed: set[str] = set()
        self._advances = 0

    @property
    def saved(self) -> dict[str, int]:
        """What is on disk, and stays there across a power cut; of journals that are followed."""
        return {journal: number for journal, number in self._saved.items() if journal in self._followed}

    @property
    def changed(self) -> bool:
        return self._delivered != self._saved

    def get(self, journal: str) -> tuple[int, str] | None:
        """The cursor of a journal and the fingerprint of its entry; None for a journal never seen."""
        number = self._delivered.get(journal)
        return None if number is None else (number, self._fingerprints.get(journal, ""))

    def follow(self, journal: str, number: int) -> None:
        """The journal was compared with its cursor, which is at `number`."""
        self._followed.add(journal)
        if journal in self._delivered:
            self._delivered[journal] = self._saved[journal] = number

    def advance(self, journal: str, number: int, fingerprint: str) -> None:
        """Note, in memory, that `number` and all before it were delivered."""
        self._delivered[journal] = number
        self._fingerprints[journal] = fingerprint
        self._advances += 1
        if self._advances >= NOTE_EVERY:
            self._note()

    def forget(self, journal: str) -> None:
        """A journal that is no more."""
        self._delivered.pop(journal, None)
        self._fingerprints.pop(journal, None)

    def save(self) -> None:
        """Write to disk, whole or not at all, also across a power cut. Raises OSError."""
        wanted = dict(self._delivered)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        durable.replace_file(self._path, self._content())
        self._advances = 0
        self._saved = wanted

    def _note(self) -> None:
        """Write without waiting for the disk, so that a kill in the midst of a backlog repeats little."""
        self._advances = 0
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(self._content())
            fresh.replace(self._path)
        except OSError:
            pass  # `save` says it

    def _content(self) -> bytes:
        return _Content(delivered=self._delivered, fingerprints=self._fingerprints).model_dump_json().encode()


def _read(path: Path) -> _Content:
    """What the file says; nothing where there is none or it is damaged: then all is sent again."""
    try:
        return _Content.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return _Content()
