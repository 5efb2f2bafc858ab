"""`smartcar events`: what was read lately, from the journal, whether or not the car runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from messages.journal import Journal
from messages.message import encode
from messages.vision import Box, ModelInfo, ReadingEvent
from tests.tools.car import objects, smartcar


@pytest.fixture
def journal(runtime: Path) -> Journal:
    """The recognizer's journal in this test's state folder."""
    folder = runtime / "state" / "recognizer"
    folder.mkdir(parents=True)
    return Journal(folder / "journal.sqlite3", keep_delivered=5)


def write_events(journal: Journal, texts: list[str]) -> None:
    now = datetime.now(UTC)
    for number, text in enumerate(texts, 1):
        event = ReadingEvent(
            event_id=f"event-{number}",
            phase="new",
            text=text,
            confidence=0.9,
            digit_confidences=(0.9,) * len(text),
            first_seen=now,
            last_seen=now,
            frames=3,
            frame_id=number,
            box=Box(x=1, y=2, width=30, height=40),
            model=ModelInfo(name="digits", version="1.0.0", digest="0" * 64),
            latency_ms=12.0,
        )
        journal.append("reading.event", encode(event.stamped("recognizer", "boot", number)))


def texts(runtime: Path, *arguments: str) -> list[str]:
    return [event["text"] for event in objects(smartcar(runtime, "events", "--json", *arguments).stdout)]


def test_the_newest_come_last_and_no_more_than_wanted(runtime: Path, journal: Journal) -> None:
    write_events(journal, ["1", "22", "333", "4?44"])
    journal.close()
    assert texts(runtime) == ["1", "22", "333", "4?44"]
    assert texts(runtime, "--limit", "2") == ["333", "4?44"]
    lines = smartcar(runtime, "events").stdout.splitlines()
    assert len(lines) == 4
    assert "4?44" in lines[-1]
    assert "digits 1.0.0" in lines[-1]


def test_events_stay_for_a_look_back_after_the_broker_has_them(runtime: Path, journal: Journal) -> None:
    write_events(journal, [str(number) for number in range(10, 20)])
    journal.prune(10)
    assert texts(runtime) == ["15", "16", "17", "18", "19"]
    assert len(journal) == 5
    journal.close()


def test_what_is_no_event_is_passed_over(runtime: Path, journal: Journal) -> None:
    journal.append("reading.event", b'{"version": 7}')
    write_events(journal, ["06234"])
    assert texts(runtime) == ["06234"]
    journal.close()
