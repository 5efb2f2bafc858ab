"""How a car does with a model: from looks at it, second by second."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tools.fleet.health import Baseline, CarCondition, HealthMonitor, RolloutState, RolloutTerms

NEW, OLD = "b" * 64, "a" * 64
TERMS = RolloutTerms(settle_s=30.0, patience_s=100.0)
WAITS = CarCondition(
    True, "ready", active=OLD, title="digits 1.0.0", hertz=30.0, bridge="B1", recognizer="R1"
)
TAKES = replace(WAITS, under_way=True)
READS = replace(WAITS, active=NEW, title="digits 2.0.0")
GONE = CarCondition(on=False, state="lost")


def verdicts(
    looks: Iterable[CarCondition], before: Baseline | None = None, terms: RolloutTerms = TERMS
) -> list[RolloutState]:
    """One condition a second; the frame rate comes every ten."""
    watch = HealthMonitor(NEW, before or WAITS.before(), terms)
    return [
        watch.judge(replace(condition, hertz_at=float(second // 10 * 10)), float(second))
        for second, condition in enumerate(looks, start=1)
    ]


def last(*looks: tuple[CarCondition, int], before: Baseline | None = None) -> RolloutState:
    return verdicts((condition for condition, seconds in looks for _ in range(seconds)), before)[-1]


def test_a_car_that_takes_it_and_stays_well_is_healthy_after_a_while() -> None:
    seen = verdicts([WAITS] * 3 + [TAKES] * 5 + [READS] * 40)
    assert list(dict.fromkeys(seen)) == ["waiting", "taking", "settling", "healthy"]
    assert seen.index(RolloutState.HEALTHY) == 8 + TERMS.settle_s


@pytest.mark.parametrize("state", ["degraded", "failed"])
def test_a_car_that_gets_worse_and_stays_so_has_failed(state: str) -> None:
    ill = replace(READS, state=state, reason="recognizer: it is confused")
    seen = verdicts([READS] * 5 + [ill] * 20)
    assert seen.count(RolloutState.FAILED) == 20 - TERMS.grace_s
    assert last((READS, 50), (ill, 20)) is RolloutState.FAILED  # later, too


def test_a_car_that_was_no_better_before_is_not_the_models_fault() -> None:
    ill = replace(READS, state="degraded")
    assert last((ill, 40), before=Baseline(state="degraded", digest=OLD, hertz=30.0)) is RolloutState.HEALTHY


def test_a_short_illness_only_makes_it_take_longer() -> None:
    ill = replace(READS, state="degraded")
    seen = verdicts([READS] * 20 + [ill] * 5 + [READS] * 40)
    assert seen.index(RolloutState.HEALTHY) == 25 + TERMS.settle_s


def test_a_car_that_reads_no_more_frames_has_failed() -> None:
    assert last((READS, 3), (replace(READS, hertz=0.0), 40)) is RolloutState.FAILED
    assert last((READS, 3), (replace(READS, hertz=20.0), 40)) is RolloutState.HEALTHY


def test_a_camera_that_was_paused_before_is_not_missed() -> None:
    paused = replace(READS, hertz=0.0)
    assert last((paused, 40), before=Baseline(digest=OLD, hertz=0.0)) is RolloutState.HEALTHY


def test_it_is_not_healthy_before_its_readings_were_counted_again() -> None:
    watch = HealthMonitor(NEW, WAITS.before(), RolloutTerms(settle_s=1.0))
    stale = replace(READS, hertz_at=9.0)
    assert [watch.judge(stale, now) for now in (10.0, 12.0, 14.0)] == [RolloutState.SETTLING] * 3
    too_soon = replace(READS, hertz_at=11.0)  # it counts frames that the model before has read
    assert watch.judge(too_soon, 14.5) is RolloutState.SETTLING
    assert watch.judge(replace(READS, hertz_at=15.0), 15.0) is RolloutState.HEALTHY


def test_a_recognizer_that_crashed_is_a_failure_and_a_car_that_was_restarted_is_not() -> None:
    crashed = replace(READS, recognizer="R2")
    restarted = replace(READS, recognizer="R2", bridge="B2")
    assert last((READS, 10), (crashed, 1)) is RolloutState.FAILED
    assert last((READS, 10), (restarted, 29)) is RolloutState.SETTLING
    assert last((READS, 10), (restarted, 32)) is RolloutState.HEALTHY


def test_going_back_is_a_failure_whoever_did_it() -> None:
    assert last((READS, 50), (WAITS, 1)) is RolloutState.FAILED


@pytest.mark.parametrize(
    "reason", ["trial_failed", "inaccurate", "unknown_key", "no_space", "refused_before"]
)
def test_a_refusal_is_a_failure(reason: str) -> None:
    watch = HealthMonitor(NEW, WAITS.before(), TERMS)
    watch.judge(replace(WAITS, refusal=reason, sentence="It answers NaN."), 1.0)
    assert (watch.verdict, watch.reason) == (RolloutState.FAILED, f"{reason}: It answers NaN.")


@pytest.mark.parametrize("reason", ["pinned", "older", "not_for_this_car", "replaced"])
def test_a_car_that_has_something_else_on_purpose_is_left_out(reason: str) -> None:
    assert last((replace(WAITS, refusal=reason), 500)) is RolloutState.LEFT_OUT


@pytest.mark.parametrize("reason", ["", "not_yet", "busy", "incomplete"])
def test_a_car_that_never_takes_it_has_failed(reason: str) -> None:
    slow = replace(WAITS, refusal=reason)
    assert last((slow, 100)) is RolloutState.WAITING
    assert last((slow, 103)) is RolloutState.FAILED


@pytest.mark.parametrize("looked", [replace(WAITS, on_trial=True), READS], ids=["on trial", "active"])
def test_a_car_that_is_lost_with_a_new_model_may_be_hung_by_it(looked: CarCondition) -> None:
    assert last((looked, 5), (GONE, 100)) is RolloutState.SETTLING
    assert last((looked, 5), (GONE, 102)) is RolloutState.FAILED
    assert last((looked, 5), (GONE, 50), (READS, 40)) is RolloutState.HEALTHY  # its plug was pulled
    assert last((looked, 5), (replace(GONE, state="stopped"), 500)) is RolloutState.OFF


def test_a_car_that_is_off_is_neither_and_its_time_does_not_run() -> None:
    assert last((GONE, 5000)) is RolloutState.OFF
    assert last((WAITS, 50), (GONE, 5000), (WAITS, 40), (READS, 40)) is RolloutState.HEALTHY
    assert last((READS, 50), (GONE, 5)) is RolloutState.OFF
    assert last((READS, 50), (GONE, 5), (READS, 5)) is RolloutState.SETTLING
