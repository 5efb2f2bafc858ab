"""Who else may be connected under the name of this car."""

from __future__ import annotations

import pytest

from services.bridge.documents import CarState, CarStatus
from services.bridge.duplicate_name_detector import REMEMBERED_S, DuplicateNameDetector

OLDER, OWN, YOUNGER = "01A", "01B", "01C"


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def detector(now: list[float]) -> DuplicateNameDetector:
    return DuplicateNameDetector(OWN, clock=lambda: now[0])


def status(state: CarState, session: str, bridge: str = OLDER) -> CarStatus:
    return CarStatus(state=state, session=session, bridge=bridge)


@pytest.mark.parametrize("state", ["starting", "ready", "degraded", "stopped", "lost"])
def test_what_stands_there_from_before_is_nobody(detector: DuplicateNameDetector, state: CarState) -> None:
    for _ in range(3):  # it stands there in the next session, too
        assert not detector.must_yield(status(state, "s1"))
    assert not detector.present


def test_an_earlier_session_that_appears_late_is_nobody(detector: DuplicateNameDetector) -> None:
    assert not detector.must_yield(status("ready", "s2"))
    assert not detector.must_yield(status("lost", "s1"))
    assert not detector.present


@pytest.mark.parametrize("state", ["starting", "ready", "lost"])
def test_a_session_newer_than_the_one_seen_is_somebody_and_the_later_yields(
    detector: DuplicateNameDetector, now: list[float], state: CarState
) -> None:
    assert not detector.must_yield(status("lost", "s1"))
    assert detector.must_yield(status(state, "s2"))
    assert not detector.must_yield(status(state, "s3", YOUNGER))
    assert detector.present
    now[0] += REMEMBERED_S
    assert not detector.present


def test_another_that_has_stopped_is_nobody(detector: DuplicateNameDetector) -> None:
    assert not detector.must_yield(status("ready", "s1"))
    assert not detector.must_yield(status("stopped", "s2"))
    assert not detector.present


def test_one_s_own_status_and_one_of_no_bridge_are_nobody(detector: DuplicateNameDetector) -> None:
    for session, bridge in (("s1", OWN), ("s2", ""), ("s3", OWN), ("s4", "")):
        assert not detector.must_yield(status("ready", session, bridge))
    assert not detector.present
