"""The guard against slowness: a ratio, and what it says of one that is too large."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tools.bench import guard
from tools.bench.cli import app
from tools.bench.report import Figure


def test_the_median_of_the_rounds_has_the_goal() -> None:
    median, least, most = guard.measure(rounds=3, frames=3)
    assert 0 < least.value <= median.value <= most.value
    assert (median.goal, least.goal, most.goal) == (guard.FRAMES_GOAL, None, None)


def test_a_ratio_beyond_its_goal_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = guard.measure(rounds=1, frames=2)
    for goal, code in ((1e9, 0), (0.0, 1)):
        told = [Figure(measured[0].name, measured[0].value, "", goal)]
        monkeypatch.setattr(guard, "measure", lambda told=told: told)
        assert CliRunner().invoke(app, ["guard", "--json"]).exit_code == code
