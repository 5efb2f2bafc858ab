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
from tools.fleet.fleet_state import FIRST_WORD_S, MAX_BYTES, SILENT_S, FleetState
from tools.fleet.listing import row, rows


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> FleetState:
    return FleetState(clock)


def status(state: str, session: str = "01M85WSFCMH9RM2AH2FYP2QVMP", **more: Any) -> bytes:
    return json.dumps({"state": state, "session": session, **more}).encode()


def state_of(fleet: FleetState, car: str = "car7") -> str:
    return fleet.cars[car].state(fleet.clock(), fleet.listening_since)


def test_what_stands_on_the_broker_is_believed_for_a_while_only(fleet: FleetState, clock: Clock) -> None:
    """A broker that was killed with its cars still says `ready` in their names."""
    fleet.take("smartcar/car7/status", status("ready"), retained=True)
    assert state_of(fleet) == "ready"
    assert [car.name for car in fleet.unheard()] == ["car7"]
    clock.now += FIRST_WORD_S + 1
    assert state_of(fleet) == "silent"
    fleet.take("smartcar/car7/metrics", metrics(), retained=False)
    assert state_of(fleet) == "ready"
    assert not fleet.unheard()
    clock.now += SILENT_S + 1
    assert state_of(fleet) == "silent"


@pytest.mark.parametrize("state", ["lost", "stopped"])
def test_a_car_that_is_away_is_not_waited_for(fleet: FleetState, clock: Clock, state: str) -> None:
    fleet.take("smartcar/car7/status", status(state), retained=True)
    assert not fleet.unheard()
    clock.now += SILENT_S + 1
    assert state_of(fleet) == state


def test_a_will_is_not_a_sign_of_life(fleet: FleetState) -> None:
    fleet.take("smartcar/car7/status", status("ready"), retained=True)
    fleet.take("smartcar/car7/status", status("lost"), retained=False)
    assert state_of(fleet) == "lost"
    assert fleet.cars["car7"].heard is None


def test_a_late_will_of_an_earlier_session_is_passed_over(fleet: FleetState) -> None:
    before, now = new_ulid(), new_ulid().replace("0", "1", 1)
    fleet.take("smartcar/car7/status", status("ready", now), retained=False)
    fleet.take("smartcar/car7/status", status("lost", before), retained=False)
    assert state_of(fleet) == "ready"


def test_a_car_that_was_removed_is_gone(fleet: FleetState) -> None:
    fleet.take("smartcar/car7/status", status("stopped"), retained=True)
    fleet.take("smartcar/car7/status", b"", retained=False)
    assert rows(fleet) == []


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
def test_what_cannot_be_read_is_counted_and_changes_nothing(fleet: FleetState, payload: bytes) -> None:
    fleet.take("smartcar/car7/status", status("ready"), retained=True)
    for what in ("status", "info", "state/model", "metrics", "event/model", "status/recognizer"):
        fleet.take(f"smartcar/car7/{what}", payload, retained=False)
    assert sum(fleet.ignored.values()) == 6
    assert state_of(fleet) == "ready"


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "car 7", "über", "-", "x" * 49, ""])
def test_a_name_that_no_car_can_have_is_ignored(fleet: FleetState, name: str) -> None:
    fleet.take(f"smartcar/{name}/status", status("ready"), retained=True)
    assert not fleet.cars
    assert fleet.ignored["topic"] == 1


def test_nothing_that_steers_a_terminal_is_printed(fleet: FleetState) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J‮evil\nline" + "y" * 500
    fleet.take("smartcar/car7/status", status("degraded", reason=hostile), retained=True)
    model = ModelInfo(name=hostile, version=hostile, digest=hostile)
    fleet.take("smartcar/car7/state/model", encode(ModelState(active=model)), retained=True)
    shown = json.dumps(asdict(rows(fleet)[0]), ensure_ascii=False)
    assert not {character for character in shown if not character.isprintable()}
    assert len(shown) < 2000


def test_a_clock_without_zone_and_a_temperature_without_sense_do_no_harm(fleet: FleetState) -> None:
    fleet.take("smartcar/car7/status", status("ready", since="2026-01-01T00:00:00"), retained=True)
    fleet.take("smartcar/car7/metrics", metrics(temperature_c=float("nan")), retained=False)
    shown = row(fleet.cars["car7"], fleet.clock(), fleet.listening_since)
    assert shown.temperature_c is None
    assert shown.last_seen is not None
    fleet.take("smartcar/car7/metrics", metrics(temperature_c=61.25), retained=False)
    assert row(fleet.cars["car7"], 0, 0).temperature_c == 61.2


def test_cars_are_sorted_as_people_do(fleet: FleetState) -> None:
    for name in ("car10", "car9", "Car1", "bus"):
        fleet.take(f"smartcar/{name}/status", status("ready"), retained=True)
    assert [each.car for each in rows(fleet)] == ["bus", "Car1", "car9", "car10"]


def test_printable_keeps_what_people_write() -> None:
    assert printable("größer als ½ — 好") == "größer als ½ — 好"
    assert printable("abcdef", 4) == "abc…"


def metrics(**more: Any) -> bytes:
    content = {"car": "car7", "session": "s", "memory_mb": 1.0, "services": {}, **more}
    return json.dumps({**content, "wall_time": datetime.now(UTC).isoformat()}).encode()


def test_the_documents_of_the_bridge_are_understood(fleet: FleetState) -> None:
    fleet.take("smartcar/car7/status", CarStatus(state="ready", session=new_ulid()).encoded(), True)
    assert not fleet.ignored
