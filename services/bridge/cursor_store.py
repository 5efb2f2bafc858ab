"""How far each journal has been delivered, kept across restarts: a small file, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from messages import durable
from messages.journal_file import machine_boot

NOTE_EVERY = 128
"""Advances between two writes, when they come fast."""


class _Content(BaseModel):
    """What is in the file. `boots` names the run of the machine in which each cursor was last moved."""

    delivered: dict[str, Annotated[int, Field(ge=0, lt=1 << 62)]] = {}
    boots: dict[str, str] = {}


class CursorStore:
    """The highest entry of each journal, by the journal's id, that the broker acknowledged without a gap.

    What was saved last is what producers may rely on to forget: announce nothing that `save` has not kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = _read(path)
        self._delivered, self._boots = content.delivered, content.boots
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

    def follow(self, journal: str, newest_of_earlier_boots: int) -> int | None:
        """The cursor of a journal; None for one never seen.

        A power cut may take the last second of a journal and leave the cursor. Then the numbers up to the
        cursor are given again, to events that were not delivered: those that this run of the machine wrote.
        """
        cursor, boot = self._delivered.get(journal), machine_boot()
        if cursor is not None and self._boots.get(journal, boot) != boot and cursor > newest_of_earlier_boots:
            cursor = self._delivered[journal] = newest_of_earlier_boots
            self._saved.pop(journal, None)
        self._boots[journal] = boot
        self._followed.add(journal)
        return cursor

    def advance(self, journal: str, number: int) -> None:
        """Note, in memory, that `number` and all before it were delivered."""
        self._delivered[journal] = max(number, self._delivered.get(journal, 0))
        self._advances += 1
        if self._advances >= NOTE_EVERY:
            self._note()

    def forget(self, journal: str) -> None:
        """A journal that is no more."""
        self._delivered.pop(journal, None)
        self._boots.pop(journal, None)

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
        return _Content(delivered=self._delivered, boots=self._boots).model_dump_json().encode()


def _read(path: Path) -> _Content:
    """What the file says; nothing where there is none or it is damaged: then all is sent again."""
    try:
        return _Content.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return _Content()
