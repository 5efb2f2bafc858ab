"""The events of codes in view, so that whoever heard `new` hears `end`, whatever happens in between."""

from __future__ import annotations

import logging

from pydantic import TypeAdapter, ValidationError

from messages.journal import Journal
from messages.message import MalformedMessage, decode
from messages.vision import ReadingEvent

LOOKED_BACK = 1000
"""Entries of a journal that were written before what is open was kept apart."""
_FACT = "open_events"
_EVENTS = TypeAdapter(tuple[ReadingEvent, ...])

log = logging.getLogger(__name__)


class OpenEvents:
    """Kept in the journal beside its entries: a poster's `new` leaves the journal while it is in view."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open = self._left_open()

    def interrupted(self) -> list[ReadingEvent]:
        """The end of each event that a killed predecessor left open, to be published."""
        changes = {"phase": "end", "end_reason": "interrupted"}
        return [event.model_copy(update=changes) for event in self._open.values()]

    def note(self, event: ReadingEvent) -> None:
        if event.phase == "end":
            self._open.pop(event.event_id, None)
        else:
            self._open[event.event_id] = event
        self._journal.remember(_FACT, _EVENTS.dump_json(tuple(self._open.values())).decode())

    def _left_open(self) -> dict[str, ReadingEvent]:
        opened: dict[str, ReadingEvent] = {}
        try:
            kept = _EVENTS.validate_json(self._journal.remembered(_FACT) or "[]")
        except ValidationError as error:  # of another version of smartcar, or damaged
            log.warning("the events that were open can't be read: %s", error)
        else:
            opened = {event.event_id: event for event in kept}
        for entry in self._journal.tail("reading.event", LOOKED_BACK):
            try:
                event = decode(ReadingEvent, entry.payload)
            except MalformedMessage as error:
                log.warning("an old event can't be read and is left as it is: %s", error)
                continue
            if event.phase == "end":
                opened.pop(event.event_id, None)
            else:
                opened[event.event_id] = event
        return opened
