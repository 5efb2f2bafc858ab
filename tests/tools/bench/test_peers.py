"""smartcar beside others: the carriers that need nothing from afar, and how a comparison is told."""

from __future__ import annotations

import sys

import pytest

from tools.bench.carriers.carry import Carried, carry
from tools.bench.peers.comparison import Target, _ratios
from tools.bench.peers.environment import _failed, _versions
from tools.terminal.problems import Problem


@pytest.mark.parametrize("carrier", ["ours", "ring", "zeromq", "multiprocess"])
def test_a_carrier_brings_frames_to_two_readers(carrier: str) -> None:
    carried = carry(carrier, (32, 24), readers=2, frames=8, hertz=20)
    assert 0 < len(carried.latencies_us) <= 16
    assert carried.lost == 16 - len(carried.latencies_us)
    assert all(latency > 0 for latency in carried.latencies_us)
    assert carried.processor_s > 0


def test_a_carrier_whose_package_is_absent_says_so() -> None:
    with pytest.raises(Problem, match="nothing does not run: ModuleNotFoundError"):
        carry("nothing", frames=1)


def test_ratios_are_of_medians_and_targets_say_whether_they_are_reached() -> None:
    ours = [Carried([100.0] * 3, 0, seconds) for seconds in (0.5, 0.9, 5.0)]
    other = [Carried([200.0] * 3, 0, 0.6)]
    latency, processor = _ratios("smartcar", 2, ours, other)
    assert latency.row().endswith("| 0.50 | ≤ 1 | reached |")
    assert processor.row().endswith("| 1.50 | ≤ 1 | missed |")
    assert Target("memory", 269.99, 270, " MB").row() == "| memory | 269.99 MB | ≤ 270 MB | reached |"


def test_what_can_not_be_installed_is_told_with_its_reason() -> None:
    assert _failed([sys.executable, "-c", "pass"]) == ""
    assert _failed([sys.executable, "-c", "raise SystemExit('no wheel')"]) == "no wheel"
    assert set(_versions(sys.executable, ("pydantic", "no-such-package"))) == {"pydantic"}
