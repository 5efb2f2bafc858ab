"""What is in view when the recognizer is killed comes to its end, however long ago it began."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from messages.journal import Journal
from messages.message import encode, new_ulid
from messages.vision import Box, ModelInfo, ReadingEvent
from services.recognizer.open_events import LOOKED_BACK, OpenEvents


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def event(phase: str, event_id: str = "") -> ReadingEvent:
    return ReadingEvent.model_validate(
        {
            "event_id": event_id or new_ulid(), "phase": phase, "text": "123", "confidence": 1.0,
            "end_reason": "gone" if phase == "end" else "", "digit_confidences": (1.0, 1.0, 1.0),
            "first_seen": datetime.now(UTC), "last_seen": datetime.now(UTC), "frames": 3, "frame_id": 1,
            "box": Box(x=1, y=1, width=5, height=5), "latency_ms": 1.0,
            "model": ModelInfo(name="m", version="1", digest="a" * 64),
        }
    )  # fmt: skip


def tell(journal: Journal, opened: OpenEvents, told: ReadingEvent) -> None:
    journal.append("reading.event", encode(told))
    opened.note(told)


def test_a_poster_that_stays_while_many_signs_pass_is_ended_after_a_kill(path: Path) -> None:
    journal = Journal(path, keep_delivered=10)
    opened = OpenEvents(journal)
    poster = event("new")
    tell(journal, opened, poster)
    for _ in range(20):
        passing = event("new")
        tell(journal, opened, passing)
        tell(journal, opened, event("end", passing.event_id))
    journal.prune(41)
    journal.close()
    again = Journal(path)
    [ended] = OpenEvents(again).interrupted()
    assert (ended.event_id, ended.phase, ended.end_reason) == (poster.event_id, "end", "interrupted")
    again.close()


def test_what_came_to_its_end_is_not_ended_again(path: Path) -> None:
    journal = Journal(path)
    opened = OpenEvents(journal)
    sign = event("new")
    tell(journal, opened, sign)
    tell(journal, opened, event("end", sign.event_id))
    assert OpenEvents(journal).interrupted() == []
    journal.close()


def test_an_event_of_a_journal_from_before_is_found_among_its_entries(path: Path) -> None:
    assert LOOKED_BACK > 500
    journal = Journal(path)
    sign = event("new")
    journal.append("reading.event", encode(sign))
    assert [each.event_id for each in OpenEvents(journal).interrupted()] == [sign.event_id]
    journal.close()


def test_what_can_not_be_read_stops_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO facts VALUES ('open_events', '[{\"event_id\": 5}]')")
    database.close()
    again = Journal(path)
    assert OpenEvents(again).interrupted() == []
    again.close()
