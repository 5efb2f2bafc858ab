"""Reading one producer's events in order, and knowing how far the broker has acknowledged them."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from messages.journal_file import Entry
from messages.journal_reader import JournalReader
from messages.message import Message
from services.bridge.cursor_store import CursorStore
from services.bridge.unjournalled_events import UnjournalledEvents, key_of

PAGE = 64
PAGE_BYTES = 4 << 20

log = logging.getLogger(__name__)


@dataclass
class InFlightMessage:
    """An entry handed over to the session, until the broker has answered."""

    number: int
    size: int
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
        """Entries that had gone from the journal before they were sent."""
        self.exhausted = False
        """Nothing more to read, as far as is known."""
        self._reader = JournalReader(path)
        self._cursors = cursors
        self._id = ""
        self._trusted = False
        self._sent = 0
        self._ever_sent = 0
        self._accounted = 0
        self._largest = PAGE_BYTES // 8
        self._flights: deque[InFlightMessage] = deque()
        self._unjournalled = UnjournalledEvents()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def head(self) -> InFlightMessage | None:
        """The first entry that waits for its acknowledgement."""
        return self._flights[0] if self._flights else None

    def backlog(self) -> int:
        """Entries in the journal, and unwritten ones, that are not acknowledged."""
        oldest, newest = self._reader.bounds()
        return max(0, newest - max(self.delivered, oldest - 1)) + len(self._unjournalled)

    def hear(self, topic: str, message: Message) -> None:
        """An event came over the bus: its producer has written it before, or could not."""
        newest = self._reader.tail(1)
        key = key_of(newest[0]) if newest else None
        if key is None or key[:2] != (topic, message.boot_id) or key[2] < message.sequence:
            self._unjournalled.add((topic, message.boot_id, message.sequence), message)
        self.exhausted = False

    def read(self, limit: int) -> list[Entry]:
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

    def has_gone(self, entry: Entry) -> bool:
        """Whether the broker has it already, from before the journal took it."""
        return entry.number > 0 and self._unjournalled.has_delivered(entry)

    def take(self, entry: Entry) -> tuple[InFlightMessage, bool]:
        """Put the entry in flight; also returns whether it had been sent before in this process."""
        flight = InFlightMessage(entry.number, len(entry.payload))
        self._flights.append(flight)
        if entry.number < 0:
            self._unjournalled.take(entry.number)
            return flight, False
        again = entry.number <= self._ever_sent
        self._sent = entry.number
        self._ever_sent = max(self._ever_sent, entry.number)
        return flight, again

    def settle(self, flight: InFlightMessage) -> None:
        """This entry is acknowledged, or given up for good."""
        flight.done = True
        if flight.number < 0:
            self._unjournalled.settle(flight.number)
        before = self.delivered
        while self._flights and self._flights[0].done:
            self.delivered = max(self.delivered, self._flights.popleft().number)
        if self.delivered != before:
            self._cursors.advance(self._id, self.delivered)

    def rewind(self) -> None:
        """Send all that was not acknowledged again."""
        self._flights.clear()
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
            log.warning("the journal of %s was replaced; what it still held was not sent", self.service)
            self._cursors.forget(self._id)
        self._id = self._reader.id
        cursor = self._cursors.get(self._id)
        self._trusted = cursor is not None
        self.delivered = cursor or 0
        self._ever_sent = 0
        self._accounted = 0
        self.rewind()

    def _notice_gap(self, number: int) -> None:
        """Count what went beyond the journal's cap unsent. Unknowable where there is no cursor."""
        missing = number - max(self._sent, self._accounted) - 1
        if missing <= 0:
            return
        if self._trusted or self._sent:
            self.missing += missing
            log.warning(
                "%d events of %s went from its journal unsent; see [journals] for how much it keeps",
                missing,
                self.service,
            )
        self._accounted = number - 1
