"""How figures are said: as they are, and as multiples of what the machine takes for a known thing."""

from __future__ import annotations

import json

import pytest

from tools.bench import yardstick
from tools.bench.report import Figure, show


def test_times_are_multiples_of_the_yardstick_and_other_figures_are_none() -> None:
    assert yardstick.multiple(500, "µs", 0.25) == pytest.approx(2)
    assert yardstick.multiple(2, "ms", 0.5) == pytest.approx(4)
    assert yardstick.multiple(3, "s", 2.0) == pytest.approx(1500)
    assert yardstick.multiple(270, "MB", 2.0) is None


def test_a_report_names_the_machines_own_times_and_the_multiples_of_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = [Figure("a wait", 30.0, "ms", goal=40.0), Figure("memory", 5.0, "MB")]
    show("waiting", lambda: figures, True, yardstick.BLUR)
    said = json.loads(capsys.readouterr().out)
    took = said["yardstick_ms"]
    assert set(took) == {yardstick.COPY, yardstick.BLUR, yardstick.MODEL, yardstick.ROUND_TRIP}
    assert all(value > 0 for value in took.values())
    waited, memory = said["figures"]
    assert said["multiples_of"] == yardstick.BLUR
    assert waited["multiple"] == pytest.approx(30 / took[yardstick.BLUR], rel=0.01)
    assert waited["reached"] is True
    assert memory["multiple"] is None


def test_the_table_shows_the_multiples(capsys: pytest.CaptureFixture[str]) -> None:
    show("waiting", lambda: [Figure("a wait", 30.0, "ms")], False, yardstick.MODEL)
    said = capsys.readouterr().out
    assert f"× {yardstick.MODEL}" in said
    assert "yardstick:" in said
