"""Commands through the page: the few it may send reach the car, and the car's own words come back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.overlay.conftest import Overlay
from tests.services.overlay.standin import StandIn


@pytest.fixture
def overlay(shared_overlay: Overlay) -> Overlay:
    return shared_overlay


@pytest.fixture
def car(shared_car: StandIn) -> StandIn:
    shared_car.commands.clear()
    return shared_car


def test_commands_reach_the_car(overlay: Overlay, car: StandIn) -> None:
    assert overlay.ask("GET", "/api/status", overlay.cookie).json["sources"] == ["default", "kitchen"]
    assert overlay.command("capture.pause", {}).json["status"] == "ok"
    assert overlay.command("capture.resume", {}).status == 200
    assert overlay.command("capture.source", {"name": "kitchen"}).status == 200
    assert car.commands == ["pause", "resume", "source kitchen"]


def test_a_command_sent_twice_is_carried_out_once(overlay: Overlay, car: StandIn) -> None:
    for _ in range(2):
        assert overlay.command("capture.pause", {"id": "the-same"}).status == 200
    assert car.commands == ["pause"]


def test_what_a_service_refuses_is_passed_on_in_its_words(overlay: Overlay, car: StandIn) -> None:
    answer = overlay.command("capture.source", {"name": "broken"})
    assert answer.status == 409
    assert answer.json["error"]["message"] == "No source is called broken. Configured are: default."


@pytest.mark.parametrize(
    ("verb", "content", "status", "code"),
    [
        ("capture.snapshot", {}, 404, "unknown-verb"),  # the page has its own pictures
        ("recognizer.read", {}, 404, "unknown-verb"),
        ("root.shell", {}, 404, "unknown-verb"),
        ("capture.source", {}, 400, "malformed"),
        ("capture.pause", {"force": True}, 400, "malformed"),
        ("capture.pause", {"expires_at": "2001-01-01T00:00:00Z"}, 409, "expired"),
    ],
)
def test_what_is_no_command_of_the_page_goes_no_further(
    overlay: Overlay, car: StandIn, verb: str, content: dict[str, Any], status: int, code: str
) -> None:
    answer = overlay.command(verb, content)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert car.commands == []
