"""`smartcar events`: the codes that were read, from the recognizer's journal and then from the bus."""

from __future__ import annotations

from collections.abc import Iterable

from messages.journal_reader import JournalReader
from messages.message import MalformedMessage, decode
from messages.vision import ReadingEvent
from services.config import Settings
from services.journals import journal_path
from tools.observe.listening import listen
from tools.terminal.output import as_dict, print_json, say

TOPIC = "reading.event"


def show(settings: Settings, *, follow: bool, limit: int, json: bool) -> int:
    """Print the newest `limit` events, oldest first; with `follow` also those to come, until Ctrl-C."""
    printed: set[tuple[str, int]] = set()
    for event in past(settings, limit):
        printed.add((event.boot_id, event.sequence))
        _print(event, json)
    if not follow:
        return 0
    try:
        for _, event in listen(settings, [TOPIC], hint=True):
            if (event.boot_id, event.sequence) not in printed:
                _print(event, json)
    except KeyboardInterrupt:
        pass  # how one ends it
    return 0


def past(settings: Settings, limit: int) -> Iterable[ReadingEvent]:
    """The newest `limit` events in the journal, oldest first; what can't be read is left out."""
    reader = JournalReader(journal_path(settings, "recognizer"))
    try:
        entries = reader.tail(limit)
    finally:
        reader.close()
    for entry in entries:
        try:
            yield decode(ReadingEvent, entry.payload)
        except MalformedMessage:
            continue  # of another version


def _print(event: ReadingEvent, json: bool) -> None:
    if json:
        print_json(as_dict(event))
        return
    moment = event.wall_time.astimezone()
    reason = f" ({event.end_reason})" if event.end_reason else ""
    say(
        f"{moment:%Y-%m-%d %H:%M:%S}  {event.text:<8} {event.phase}{reason}, {event.confidence:.0%} sure, "
        f"{event.frames} frames, {event.latency_ms:.0f} ms, {event.model.name} {event.model.version}"
    )
