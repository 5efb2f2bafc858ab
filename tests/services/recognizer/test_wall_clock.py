"""Moments as people read them: in order, however the clocks are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.recognizer.wall_clock import WallClock

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MS = 1_000_000


class Clocks:
    """A wall clock `ahead_ns` of the monotonic one, which goes on by `lag_ns` with each look at either."""

    def __init__(self) -> None:
        self.now_ns, self.lag_ns = 1000 * MS, 0
        self.ahead_ns = int(NOON.timestamp()) * 1000 * MS - self.now_ns

    def monotonic_ns(self) -> int:
        self.now_ns += self.lag_ns
        return self.now_ns

    def wall_ns(self) -> int:
        return self.monotonic_ns() + self.ahead_ns


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_a_moment_is_one_wall_time_however_long_it_takes_to_look(clocks: Clocks) -> None:
    clock = WallClock(clocks.wall_ns, clocks.monotonic_ns)
    moment = clocks.now_ns - 500 * MS
    assert clock.at(moment) == NOON - timedelta(milliseconds=500)
    for clocks.lag_ns in (1, 777, 3 * MS, 400 * MS):
        assert clock.at(moment) == NOON - timedelta(milliseconds=500)
        assert clock.at(moment + 1000) - clock.at(moment) == timedelta(microseconds=1)


def test_a_wall_clock_that_is_set_is_followed(clocks: Clocks) -> None:
    clock = WallClock(clocks.wall_ns, clocks.monotonic_ns)
    assert clock.at(clocks.now_ns) == NOON
    clocks.ahead_ns += 3_600_000 * MS
    assert clock.at(clocks.now_ns) == NOON + timedelta(hours=1)
    clocks.ahead_ns -= 7_200_000 * MS
    assert clock.at(clocks.now_ns) == NOON - timedelta(hours=1)
