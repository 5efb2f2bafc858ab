"""What the cars say, and what others say in their name."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from messages.message import encode, new_ulid
from messages.models import ModelState
from messages.text import printable
from messages.vision import ModelInfo
from services.bridge.documents import CarStatus
from tools.fleet.listing import row, rows
from tools.fleet.roster import FIRST_WORD_S, MAX_BYTES, SILENT_S, Roster


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def roster(clock: Clock) -> Roster:
    return Roster(clock)


def status(state: str, session: str = "01M85WSFCMH9RM2AH2FYP2QVMP", **more: Any) -> bytes:
    return json.dumps({"state": state, "session": session, **more}).encode()


def state_of(roster: Roster, car: str = "car7") -> str:
    return roster.cars[car].state(roster.clock(), roster.listening_since)


def test_what_stands_on_the_broker_is_believed_for_a_while_only(roster: Roster, clock: Clock) -> None:
    """A broker that was killed with its cars still says `ready` in their names."""
    roster.take("smartcar/car7/status", status("ready"), retained=True)
    assert state_of(roster) == "ready"
    assert [car.name for car in roster.unheard()] == ["car7"]
    clock.now += FIRST_WORD_S + 1
    assert state_of(roster) == "silent"
    roster.take("smartcar/car7/metrics", metrics(), retained=False)
    assert state_of(roster) == "ready"
    assert not roster.unheard()
    clock.now += SILENT_S + 1
    assert state_of(roster) == "silent"


@pytest.mark.parametrize("state", ["lost", "stopped"])
def test_a_car_that_is_away_is_not_waited_for(roster: Roster, clock: Clock, state: str) -> None:
    roster.take("smartcar/car7/status", status(state), retained=True)
    assert not roster.unheard()
    clock.now += SILENT_S + 1
    assert state_of(roster) == state


def test_a_will_is_not_a_sign_of_life(roster: Roster) -> None:
    roster.take("smartcar/car7/status", status("ready"), retained=True)
    roster.take("smartcar/car7/status", status("lost"), retained=False)
    assert state_of(roster) == "lost"
    assert roster.cars["car7"].heard is None


def test_a_late_will_of_an_earlier_session_is_passed_over(roster: Roster) -> None:
    before, now = new_ulid(), new_ulid().replace("0", "1", 1)
    roster.take("smartcar/car7/status", status("ready", now), retained=False)
    roster.take("smartcar/car7/status", status("lost", before), retained=False)
    assert state_of(roster) == "ready"


def test_a_car_that_was_removed_is_gone(roster: Roster) -> None:
    roster.take("smartcar/car7/status", status("stopped"), retained=True)
    roster.take("smartcar/car7/status", b"", retained=False)
    assert rows(roster) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\x00\x1b[2J",
        b"null",
        b"[" * 100_000,
        b'{"state": "ready"}',
        b'{"state": "\x1b[31m", "session": "1"}',
        b'{"state": ["ready"], "session": {}}',
        b'{"state": "ready", "session": "1", "reason": "' + b"x" * MAX_BYTES + b'"}',
    ],
    ids=["bytes", "null", "nested", "half", "escape", "types", "huge"],
)
def test_what_cannot_be_read_is_counted_and_changes_nothing(roster: Roster, payload: bytes) -> None:
    roster.take("smartcar/car7/status", status("ready"), retained=True)
    for what in ("status", "info", "state/model", "metrics", "event/model", "status/recognizer"):
        roster.take(f"smartcar/car7/{what}", payload, retained=False)
    assert sum(roster.ignored.values()) == 6
    assert state_of(roster) == "ready"


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "car 7", "über", "-", "x" * 49, ""])
def test_a_name_that_no_car_can_have_is_ignored(roster: Roster, name: str) -> None:
    roster.take(f"smartcar/{name}/status", status("ready"), retained=True)
    assert not roster.cars
    assert roster.ignored["topic"] == 1


def test_nothing_that_steers_a_terminal_is_printed(roster: Roster) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J‮evil\nline" + "y" * 500
    roster.take("smartcar/car7/status", status("degraded", reason=hostile), retained=True)
    model = ModelInfo(name=hostile, version=hostile, digest=hostile)
    roster.take("smartcar/car7/state/model", encode(ModelState(active=model)), retained=True)
    shown = json.dumps(asdict(rows(roster)[0]), ensure_ascii=False)
    assert not {character for character in shown if not character.isprintable()}
    assert len(shown) < 2000


def test_a_clock_without_zone_and_a_temperature_without_sense_do_no_harm(roster: Roster) -> None:
    roster.take("smartcar/car7/status", status("ready", since="2026-01-01T00:00:00"), retained=True)
    roster.take("smartcar/car7/metrics", metrics(temperature_c=float("nan")), retained=False)
    shown = row(roster.cars["car7"], roster.clock(), roster.listening_since)
    assert shown.temperature_c is None
    assert shown.last_seen is not None
    roster.take("smartcar/car7/metrics", metrics(temperature_c=61.25), retained=False)
    assert row(roster.cars["car7"], 0, 0).temperature_c == 61.2


def test_cars_are_sorted_as_people_do(roster: Roster) -> None:
    for name in ("car10", "car9", "Car1", "bus"):
        roster.take(f"smartcar/{name}/status", status("ready"), retained=True)
    assert [each.car for each in rows(roster)] == ["bus", "Car1", "car9", "car10"]


def test_printable_keeps_what_people_write() -> None:
    assert printable("größer als ½ — 好") == "größer als ½ — 好"
    assert printable("abcdef", 4) == "abc…"


def metrics(**more: Any) -> bytes:
    content = {"car": "car7", "session": "s", "memory_mb": 1.0, "services": {}, **more}
    return json.dumps({**content, "wall_time": datetime.now(UTC).isoformat()}).encode()


def test_the_documents_of_the_bridge_are_understood(roster: Roster) -> None:
    roster.take("smartcar/car7/status", CarStatus(state="ready", session=new_ulid()).encoded(), True)
    assert not roster.ignored
