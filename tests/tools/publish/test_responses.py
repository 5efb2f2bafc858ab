"""What a publisher makes of what cars say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from messages.message import encode
from messages.models import ModelProgress, ModelState, Step
from messages.offers import StandingOffer, offer_change
from messages.vision import ModelInfo
from services.bridge.documents import CarStatus
from tools.publish.mqtt_client import Received
from tools.publish.responses import CarResponses

DIGEST = "ab" * 32
OLD = ModelInfo(name="factory", version="1.0.0", digest="00" * 32)
NEW = ModelInfo(name="lab", version="2.0.0", digest=DIGEST)


@pytest.fixture
def responses() -> CarResponses:
    """Of a car that is connected and follows."""
    responses = CarResponses("lab", DIGEST)
    say(responses, "status", status("ready"))
    say(responses, "state/model", state(OLD))
    return responses


def say(responses: CarResponses, topic: str, payload: bytes, car: str = "car7") -> None:
    responses.take(Received(f"smartcar/{car}/{topic}", payload, False))


def status(how: str) -> bytes:
    content = {"state": how, "session": "01", "since": datetime.now(UTC)}
    return CarStatus.model_validate(content).encoded()


def state(active: ModelInfo, reason: str = "", *, digest: str = DIGEST, follows: bool = True) -> bytes:
    offer = StandingOffer(name="lab", version="2.0.0", digest=digest, release=2, reason=reason)
    return encode(
        ModelState(active=active, follows=("lab",) if follows else (), offers=(offer,) if reason else ())
    )


def step(name: Step, reason: str = "", change: str = "") -> bytes:
    return encode(
        ModelProgress(
            change=change or offer_change(DIGEST), step=name, percent=50, origin="offer", reason=reason
        )
    )


def test_a_car_that_follows_is_waited_for_until_it_reads_with_it(responses: CarResponses) -> None:
    assert [each.car for each in responses.awaited] == ["car7"]
    say(responses, "event/model", step("fetching"))
    assert [each.verdict for each in responses.awaited] == ["pending"]
    say(responses, "event/model", step("active"))
    say(responses, "state/model", state(NEW))
    assert responses.by_car["car7"].verdict == "taken"
    assert not responses.awaited


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [("pinned", "refused"), ("older", "refused"), ("not_yet", "held"), ("incomplete", "pending")],
)
def test_why_not(responses: CarResponses, reason: str, verdict: str) -> None:
    say(responses, "state/model", state(OLD, reason))
    assert (responses.by_car["car7"].verdict, responses.by_car["car7"].reason) == (verdict, reason)


def test_a_trial_that_fails_is_a_refusal(responses: CarResponses) -> None:
    say(responses, "event/model", step("trial"))
    say(responses, "event/model", step("fallen_back", "trial_failed"))
    assert responses.by_car["car7"].verdict == "refused"


def test_what_is_about_other_offers_is_passed_over(responses: CarResponses) -> None:
    say(responses, "state/model", state(OLD, "pinned", digest="cd" * 32))
    say(responses, "event/model", step("refused", "pinned", change="desk-1"))
    assert responses.by_car["car7"].verdict == ""


def test_who_does_not_follow_or_is_away_is_not_waited_for(responses: CarResponses) -> None:
    say(responses, "status", status("lost"))
    assert not responses.awaited
    assert [each.car for each in responses.away] == ["car7"]
    say(responses, "status", status("ready"), "car8")
    say(responses, "state/model", state(OLD, follows=False), "car8")
    assert not responses.awaited


def test_nonsense_is_passed_over(responses: CarResponses) -> None:
    for topic in ("status", "state/model", "event/model", "something", ""):
        say(responses, topic, b"nonsense")
    assert responses.by_car["car7"].here
