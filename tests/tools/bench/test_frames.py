"""`smartcar bench frames`: this checkout and another read the same frames in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.bench.frames import GOALS, measure
from tools.terminal.problems import Problem


def test_a_checkout_beside_itself_takes_about_as_long() -> None:
    figures = {figure.name: figure.value for figure in measure(REPOSITORY, rounds=3)}
    assert len(figures) == 3 * len(GOALS)
    for name in GOALS:
        assert 0.1 < figures[f"{name}, times the other's"] < 10


def test_a_folder_that_holds_no_smartcar_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=f"The reader in {tmp_path} can't be run"):
        measure(tmp_path, rounds=1)
