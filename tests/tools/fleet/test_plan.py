"""What a rollout does next, decided from verdicts alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.fleet.health import RolloutState
from tools.fleet.plan import ALL, Action, Done, Situation, Stop, Wait, Wave, Widen, decide, parse_waves
from tools.terminal.problems import Problem

WAVES = parse_waves("1,3,all")
OFF, LEFT_OUT, FAILED = RolloutState.OFF, RolloutState.LEFT_OUT, RolloutState.FAILED
HEALTHY, SETTLING = RolloutState.HEALTHY, RolloutState.SETTLING
CARS = tuple(f"car{number}" for number in range(1, 11))


def next_step(
    released: tuple[str, ...] | None,
    *verdicts: RolloutState,
    waves: tuple[Wave, ...] = WAVES,
    on: tuple[str, ...] = CARS,
    max_failures: int = 0,
    everyone: tuple[str, ...] | None = None,
) -> Action:
    named = released if released is not None else CARS
    candidates = tuple(car for car in on if car not in named)
    situation = Situation(released, dict(zip(named, verdicts, strict=False)), candidates, everyone, len(CARS))
    return decide(situation, waves, max_failures)


def test_the_first_wave_is_let_in_at_once() -> None:
    assert next_step(()) == Widen(("car1",), ("car1",))


@pytest.mark.parametrize("verdict", [RolloutState.WAITING, RolloutState.TAKING, SETTLING])
def test_it_waits_for_the_last_word_of_each_car(verdict: RolloutState) -> None:
    assert next_step(CARS[:3], HEALTHY, verdict, HEALTHY) == Wait()


def test_it_goes_on_while_all_are_healthy() -> None:
    assert next_step(CARS[:1], HEALTHY) == Widen(CARS[:3], CARS[1:3])
    assert next_step(CARS[:3], HEALTHY, HEALTHY, HEALTHY) == Widen(None, CARS[3:])
    assert next_step(None, *[HEALTHY] * 10) == Done()


def test_one_failure_stops_it_whatever_the_others_do() -> None:
    assert next_step(CARS[:3], HEALTHY, FAILED, SETTLING) == Stop(("car2",))
    assert next_step(None, *[HEALTHY] * 9, FAILED) == Stop(("car10",))


def test_so_many_failures_as_are_allowed_are_made_up_for_by_other_cars() -> None:
    assert next_step(CARS[:1], FAILED, max_failures=1) == Widen(CARS[:2], CARS[1:2])
    assert next_step(CARS[:2], FAILED, FAILED, max_failures=1) == Stop(("car1", "car2"))


def test_a_car_that_is_off_or_pinned_shows_nothing_so_another_goes_first() -> None:
    assert next_step(CARS[:1], OFF) == Widen(CARS[:2], CARS[1:2])
    assert next_step(CARS[:1], LEFT_OUT) == Widen(CARS[:2], CARS[1:2])
    assert next_step(CARS[:4], HEALTHY, OFF, HEALTHY, LEFT_OUT) == Widen(CARS[:5], CARS[4:5])


def test_where_nobody_can_show_anything_it_does_not_go_on() -> None:
    assert next_step(CARS[:1], OFF, on=CARS[:1]) == Wait(unproven=True)
    assert next_step((), on=()) == Wait(unproven=True)
    assert next_step(CARS[:2], OFF, LEFT_OUT, on=CARS[:2], waves=(Wave(1), ALL)) == Wait(unproven=True)


def test_a_wave_larger_than_the_cars_that_are_on_is_over_with_them() -> None:
    assert next_step(CARS[:2], HEALTHY, HEALTHY, on=CARS[:2]) == Widen(None, ())


def test_all_at_once_asks_for_no_proof() -> None:
    assert next_step((), waves=(ALL,), on=()) == Widen(None, ())


def test_without_all_it_ends_with_the_last_number() -> None:
    assert next_step(CARS[:3], HEALTHY, HEALTHY, HEALTHY, waves=(Wave(1), Wave(3))) == Done()


def test_cars_that_were_chosen_are_all_there_is() -> None:
    chosen = CARS[:4]
    assert next_step(CARS[:3], *[HEALTHY] * 3, on=chosen, everyone=chosen) == Widen(chosen, CARS[3:4])
    assert next_step(chosen, *[HEALTHY] * 4, on=chosen, everyone=chosen) == Done()


@given(
    st.lists(st.sampled_from([OFF, LEFT_OUT, FAILED, HEALTHY]), max_size=10),
    st.integers(0, 3),
    st.integers(0, 10),
)
def test_no_car_is_let_in_beyond_a_wave_unless_so_many_did_well(
    verdicts: list[RolloutState], max_failures: int, on: int
) -> None:
    released = CARS[: len(verdicts)]
    step = next_step(released, *verdicts, on=CARS[:on], max_failures=max_failures)
    if isinstance(step, Widen):
        healthy = verdicts.count(HEALTHY)
        assert verdicts.count(FAILED) <= max_failures
        assert healthy >= 1 or step.cars is not None
        assert len(step.new) <= 3 or step.cars is None
        assert step.cars is None or set(step.cars) >= set(released)


@pytest.mark.parametrize("on", range(11))
def test_a_rollout_in_which_all_goes_well_ends(on: int) -> None:
    """Whoever is on takes it and does well; the others are off."""
    released: tuple[str, ...] | None = ()
    for _ in range(20):
        named = CARS if released is None else released
        verdicts = [HEALTHY if car in CARS[:on] else OFF for car in named]
        step = next_step(released, *verdicts, on=CARS[:on])
        if not isinstance(step, Widen):
            break
        released = step.cars
    assert step == (Done() if on else Wait(unproven=True))


def test_waves_are_read() -> None:
    assert parse_waves("1, 5,ALL") == (Wave(1), Wave(5), ALL)
    assert parse_waves("1,10%,100%") == (Wave(1), Wave(percent=10.0), ALL)
    assert [Wave(percent=10.0).target(total) for total in (3, 20, 4000)] == [1, 2, 400]


@pytest.mark.parametrize("text", ["", "0", "5,1", "3,3", "all,5", "20%,10%", "0%", "many", "1;5", "-1"])
def test_what_are_no_waves_is_said(text: str) -> None:
    with pytest.raises(Problem):
        parse_waves(text)
