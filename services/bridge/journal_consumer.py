"""Reading one producer's events in order, and knowing how far the broker has acknowledged them."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from messages.journal_file import JournalEntry
from messages.journal_reader import JournalReader
from messages.message import Message
from services.bridge.cursor_store import CursorStore
from services.bridge.unjournalled_events import UnjournalledEvents, key_of

PAGE = 64
PAGE_BYTES = 4 << 20

log = logging.getLogger(__name__)


@dataclass(eq=False)
class InFlightMessage:
    """An entry handed over to the session, until the broker has answered."""

    consumer: JournalConsumer
    entry: JournalEntry
    is_repeated: bool
    """It had been sent before in this process."""
    topic: str = ""
    sent_at: float = 0.0
    done: bool = False


class JournalConsumer:
    """The undelivered end of a journal. At most `PAGE` entries are in memory at once, and after them what was
    heard of and is not in the journal, because its disk takes nothing.

    `delivered` is the highest entry without a gap before it that is acknowledged (or was skipped for good).
    """

    def __init__(self, service: str, path: Path, cursors: CursorStore) -> None:
        self.service = service
        self.delivered = 0
        self.missing = 0
        """Entries that had gone from the journal, or with it, before they were sent."""
        self.exhausted = False
        """Nothing more to read, as far as is known."""
        self._reader = JournalReader(path)
        self._cursors = cursors
        self._id = ""
        self._trusted = False
        self._newest = 0
        """The highest entry that was seen in this journal."""
        self._sent = 0
        self._ever_sent = 0
        self._accounted = 0
        self._largest = PAGE_BYTES // 8
        self._in_flight: deque[InFlightMessage] = deque()
        self._unjournalled = UnjournalledEvents()

    def backlog(self) -> int:
        """Entries in the journal, and unwritten ones, that are not acknowledged."""
        oldest, newest = self._reader.bounds()
        if self._reader.id != self._id:
            self._follow()
        self._note_newest(newest)
        return max(0, newest - max(self.delivered, oldest - 1)) + len(self._unjournalled)

    def hear(self, topic: str, message: Message) -> None:
        """An event came over the bus: its producer has written it before, or could not."""
        newest = self._reader.tail(1)
        key = key_of(newest[0]) if newest else None
        self._note_newest(newest[0].number if newest else 0)
        if key is None or key[:2] != (topic, message.boot_id) or key[2] < message.sequence:
            self._unjournalled.add((topic, message.boot_id, message.sequence), message)
        self.exhausted = False

    def read(self, limit: int) -> list[JournalEntry]:
        """The next entries after those in flight, in order; `take` each, or `read` gives it again.

        The journal's first: `has_gone` tells those that went before they were in it.
        """
        limit = max(1, min(limit, PAGE, PAGE_BYTES // self._largest))
        entries = self._reader.read(self._sent, limit)
        if self._reader.id != self._id:
            self._follow()
            entries = self._reader.read(self._sent, limit) if self._id else []
        if entries:
            self._largest = max(1024, *(len(entry.payload) for entry in entries))
            self._notice_gap(entries[0].number)
        for entry in entries:
            self._unjournalled.is_written(entry)
        entries += self._unjournalled.read(limit - len(entries))
        self.exhausted = len(entries) < limit
        return entries

    def has_gone(self, entry: JournalEntry) -> bool:
        """Whether the broker has it already, from before the journal took it."""
        return entry.number > 0 and self._unjournalled.has_delivered(entry)

    def take(self, entry: JournalEntry) -> InFlightMessage:
        message = InFlightMessage(self, entry, is_repeated=0 < entry.number <= self._ever_sent)
        self._in_flight.append(message)
        if entry.number < 0:
            self._unjournalled.take(entry.number)
        else:
            self._sent = entry.number
            self._ever_sent = max(self._ever_sent, entry.number)
        return message

    def settle(self, message: InFlightMessage) -> None:
        """This entry is acknowledged, or given up for good."""
        message.done = True
        if message.entry.number < 0:
            self._unjournalled.settle(message.entry.number)
        before = self.delivered
        last = message.entry
        while self._in_flight and self._in_flight[0].done:
            entry = self._in_flight.popleft().entry
            if entry.number > self.delivered:
                self.delivered, last = entry.number, entry
        if self.delivered != before:
            self._cursors.advance(self._id, self.delivered, fingerprint(last))

    def rewind(self) -> None:
        """Send all that was not acknowledged again."""
        self._in_flight.clear()
        self._unjournalled.rewind()
        self._sent = self.delivered
        self.exhausted = False

    def close(self) -> None:
        self._reader.close()

    def _follow(self) -> None:
        """Another file lies there now: begin where it was left, or at its beginning."""
        if not self._reader.id:
            return  # none at the moment; it may come back as it was
        if self._id:
            self._count_missing(self._newest - self.delivered, "its journal was replaced")
            self._cursors.forget(self._id)
        self._id = self._reader.id
        cursor = self._cursors.get(self._id)
        self._trusted = cursor is not None
        self.delivered = self._compare(*cursor) if cursor else 0
        self._cursors.follow(self._id, self.delivered)
        self._newest = self._reader.bounds()[1]
        self._ever_sent = 0
        self._accounted = 0
        self.rewind()

    def _compare(self, cursor: int, expected: str) -> int:
        """The cursor, or a lower one where the journal lost its end.

        A power cut may take the last second of a journal and leave the cursor. Then the numbers up to the
        cursor are given again, to events that were not delivered.
        """
        newest, before_boot = self._reader.newest()
        there = [entry for entry in self._reader.read(cursor - 1, 1) if entry.number == cursor]
        is_intact = fingerprint(there[0]) == expected or not expected if there else newest >= cursor
        return cursor if is_intact else min(cursor, before_boot)

    def _note_newest(self, number: int) -> None:
        if self._reader.id == self._id:  # else another file has just taken its place
            self._newest = max(self._newest, number)

    def _notice_gap(self, number: int) -> None:
        """Count what went beyond the journal's cap unsent. Unknowable where there is no cursor."""
        if self._trusted or self._sent:
            gap = number - max(self._sent, self._accounted) - 1
            self._count_missing(gap, "see [journals] for how much it keeps")
        self._accounted = max(self._accounted, number - 1)

    def _count_missing(self, count: int, why: str) -> None:
        if count > 0:
            self.missing += count
            log.warning("%d events of %s went from its journal unsent: %s", count, self.service, why)


def fingerprint(entry: JournalEntry) -> str:
    """Tells an entry from another of the same number."""
    return hashlib.blake2b(entry.payload, digest_size=8).hexdigest()
