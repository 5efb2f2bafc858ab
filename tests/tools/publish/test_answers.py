"""What a publisher makes of what cars say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from messages.message import encode
from messages.models import ModelProgress, ModelState, Step
from messages.offers import StandingOffer, offer_change
from messages.vision import ModelInfo
from services.bridge.documents import CarStatus
from tools.publish.answers import Answers
from tools.publish.link import Received

DIGEST = "ab" * 32
OLD = ModelInfo(name="factory", version="1.0.0", digest="00" * 32)
NEW = ModelInfo(name="lab", version="2.0.0", digest=DIGEST)


@pytest.fixture
def answers() -> Answers:
    """Of a car that is connected and follows."""
    answers = Answers("lab", DIGEST)
    say(answers, "status", status("ready"))
    say(answers, "state/model", state(OLD))
    return answers


def say(answers: Answers, topic: str, payload: bytes, car: str = "car7") -> None:
    answers.take(Received(f"smartcar/{car}/{topic}", payload, False))


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


def test_a_car_that_follows_is_waited_for_until_it_reads_with_it(answers: Answers) -> None:
    assert [each.car for each in answers.awaited] == ["car7"]
    say(answers, "event/model", step("fetching"))
    assert [each.verdict for each in answers.awaited] == ["pending"]
    say(answers, "event/model", step("active"))
    say(answers, "state/model", state(NEW))
    assert answers.by_car["car7"].verdict == "taken"
    assert not answers.awaited


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [("pinned", "refused"), ("older", "refused"), ("not_yet", "held"), ("incomplete", "pending")],
)
def test_why_not(answers: Answers, reason: str, verdict: str) -> None:
    say(answers, "state/model", state(OLD, reason))
    assert (answers.by_car["car7"].verdict, answers.by_car["car7"].reason) == (verdict, reason)


def test_a_trial_that_fails_is_a_refusal(answers: Answers) -> None:
    say(answers, "event/model", step("trial"))
    say(answers, "event/model", step("fallen_back", "trial_failed"))
    assert answers.by_car["car7"].verdict == "refused"


def test_what_is_about_other_offers_is_passed_over(answers: Answers) -> None:
    say(answers, "state/model", state(OLD, "pinned", digest="cd" * 32))
    say(answers, "event/model", step("refused", "pinned", change="desk-1"))
    assert answers.by_car["car7"].verdict == ""


def test_who_does_not_follow_or_is_away_is_not_waited_for(answers: Answers) -> None:
    say(answers, "status", status("lost"))
    assert not answers.awaited
    assert [each.car for each in answers.away] == ["car7"]
    say(answers, "status", status("ready"), "car8")
    say(answers, "state/model", state(OLD, follows=False), "car8")
    assert not answers.awaited


def test_nonsense_is_passed_over(answers: Answers) -> None:
    for topic in ("status", "state/model", "event/model", "something", ""):
        say(answers, topic, b"nonsense")
    assert answers.by_car["car7"].here
