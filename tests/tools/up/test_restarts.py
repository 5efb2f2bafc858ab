"""When a service is started again: quick at first, then slower, and no more when it doesn't help."""

from __future__ import annotations

import signal

from tools.up.restarts import MAX_CRASHES, PAUSES_S, RestartPolicy


def test_the_first_restart_is_quick_and_later_ones_slower() -> None:
    policy = RestartPolicy()
    pauses = [policy.pause_after(1, ran_s=0.5, now=100.0 * i) for i in range(7)]
    assert pauses == [*PAUSES_S, PAUSES_S[-1], PAUSES_S[-1]]


def test_a_service_that_ran_well_starts_quickly_again() -> None:
    policy = RestartPolicy()
    for i in range(4):
        policy.pause_after(1, ran_s=0.5, now=float(i))
    assert policy.pause_after(1, ran_s=31, now=40) == PAUSES_S[0]


def test_more_than_five_crashes_within_a_minute_are_the_end() -> None:
    policy = RestartPolicy()
    assert all(policy.pause_after(1, ran_s=3, now=9.0 * i) is not None for i in range(MAX_CRASHES))
    assert policy.pause_after(1, ran_s=3, now=9.0 * MAX_CRASHES) is None


def test_five_crashes_a_minute_are_borne() -> None:
    policy = RestartPolicy()
    assert all(policy.pause_after(1, ran_s=12, now=12.5 * i) is not None for i in range(50))


def test_who_is_killed_has_not_crashed_and_is_back_quickly_however_often() -> None:
    policy = RestartPolicy()
    assert {policy.pause_after(-signal.SIGKILL, ran_s=1.5, now=2.0 * i) for i in range(50)} == {PAUSES_S[0]}


def test_who_is_killed_as_soon_as_it_starts_is_not_restarted_in_a_busy_loop() -> None:
    policy = RestartPolicy()
    pauses = [policy.pause_after(-signal.SIGKILL, ran_s=0.1, now=float(i)) for i in range(9)]
    assert pauses[-1] == PAUSES_S[-1]


def test_a_segmentation_fault_and_a_hang_count_as_crashes() -> None:
    for exit_code, hung in ((-signal.SIGSEGV, False), (-signal.SIGKILL, True)):
        policy = RestartPolicy()
        for i in range(MAX_CRASHES):
            policy.pause_after(exit_code, ran_s=5, now=float(i), hung=hung)
        assert policy.pause_after(exit_code, ran_s=5, now=10, hung=hung) is None
