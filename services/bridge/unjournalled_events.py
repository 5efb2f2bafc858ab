"""Events that could not be written to their journal, because its disk takes nothing: sent from memory."""

from __future__ import annotations

import time
from itertools import islice

from pydantic import ValidationError

from messages.journal import BACKLOG
from messages.journal_file import JournalEntry
from messages.message import Message, encode

Key = tuple[str, str, int]
"""Topic, boot id and sequence: what an event is recognised by."""


class UnjournalledEvents:
    """The newest BACKLOG such events of one producer, numbered -1, -2, … since a journal counts up from 1."""

    def __init__(self) -> None:
        self._entries: dict[Key, JournalEntry] = {}
        self._keys: dict[int, Key] = {}
        self._in_flight: set[int] = set()
        self._delivered: dict[Key, None] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: Key, message: Message) -> None:
        """One that came over the bus and is not in the journal."""
        self._number -= 1
        self._entries[key] = JournalEntry(self._number, key[0], encode(message), time.time())
        self._keys[self._number] = key
        if len(self._entries) > BACKLOG:
            self._drop(next(iter(self._entries)))

    def read(self, limit: int) -> list[JournalEntry]:
        """The oldest that are not in flight."""
        waiting = (each for each in self._entries.values() if each.number not in self._in_flight)
        return list(islice(waiting, limit))

    def take(self, number: int) -> None:
        """The event was handed over to the session."""
        self._in_flight.add(number)

    def settle(self, number: int) -> None:
        """The event is acknowledged, or given up for good."""
        key = self._keys.get(number)
        if key is None:
            return  # it had to give way
        self._drop(key)
        self._delivered[key] = None
        if len(self._delivered) > BACKLOG:
            del self._delivered[next(iter(self._delivered))]

    def rewind(self) -> None:
        """The session is over: all that is left is sent again."""
        self._in_flight.clear()

    def is_written(self, entry: JournalEntry) -> None:
        """The journal has taken it since: it goes from there, where it isn't in flight."""
        key = key_of(entry) if self._entries else None
        if key in self._entries and self._entries[key].number not in self._in_flight:
            self._drop(key)

    def has_delivered(self, entry: JournalEntry) -> bool:
        """Whether this entry of the journal has gone from memory before."""
        return bool(self._delivered) and key_of(entry) in self._delivered

    def _drop(self, key: Key) -> None:
        number = self._entries.pop(key).number
        del self._keys[number]
        self._in_flight.discard(number)


def key_of(entry: JournalEntry) -> Key | None:
    """What an entry of a journal is recognised by; None where that can't be read."""
    try:
        envelope = Message.model_validate_json(entry.payload)
    except ValidationError:
        return None
    return entry.topic, envelope.boot_id, envelope.sequence
