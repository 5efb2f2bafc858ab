"""What a heartbeat says of counters, durations and the processor."""

from __future__ import annotations

import time

import pytest

from services.metrics import SHORTEST_S, Metrics, ProcessorShare


class Clock:
    """Stands in for CLOCK_MONOTONIC."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        patch.setattr(time, "monotonic", lambda: self.seconds)
        patch.setattr(time, "monotonic_ns", lambda: round(self.seconds * 1e9))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_heartbeat_right_after_another_repeats_its_rates(clock: Clock) -> None:
    """A change of state is told at once: a millisecond with four frames is not 4,000 frames a second."""
    metrics = Metrics()
    metrics.count("frames", 30)
    metrics.observe("reading", 8.0)
    clock.seconds += 1.0
    assert metrics.take() == ({"frames": 30.0}, {"reading.p50": 8.0, "reading.p95": 8.0})
    metrics.count("frames", 4)
    metrics.observe("reading", 12.0)
    clock.seconds += 0.001
    assert metrics.take() == ({"frames": 30.0}, {"reading.p50": 8.0, "reading.p95": 8.0})
    metrics.count("frames", 26)
    clock.seconds += 0.999
    rates, latencies = metrics.take()
    assert rates == {"frames": 30.0}
    assert latencies["reading.p50"] == 12.0


def test_nothing_is_said_before_there_is_enough_to_say_it_of(clock: Clock) -> None:
    metrics = Metrics()
    metrics.count("frames", 5)
    clock.seconds += SHORTEST_S / 2
    assert metrics.take() == ({}, {})
    clock.seconds += SHORTEST_S / 2
    assert metrics.take()[0] == {"frames": 5 / SHORTEST_S}


def test_the_processors_share_is_not_computed_from_a_sliver_either(clock: Clock) -> None:
    share = ProcessorShare()
    share._spent_s -= 0.3
    clock.seconds += 1.0
    first = share.take()
    assert 30 <= first < 100
    share._spent_s -= 0.01
    clock.seconds += 0.0001
    assert share.take() == first
