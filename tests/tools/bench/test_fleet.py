"""The fleet's benchmark, with the smallest fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.bridge.kit import find_mosquitto
from tools.bench.fleet import measure, sizes_of
from tools.terminal.problems import Problem


def test_a_published_bundle_reaches_every_simulated_car() -> None:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    figures = {each.name: each.value for each in measure([2], megabytes=0.8, rest_s=0.5)}
    size = figures["2 cars: bundle"]
    assert size == pytest.approx(0.8, rel=0.01)
    assert 0 < figures["2 cars: all have it whole"] <= figures["2 cars: all read with it"]
    assert figures["2 cars: out of the broker"] >= 2 * size
    assert figures["2 cars: memory of the broker, peak"] > 1


def test_without_mosquitto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tools.bench.mosquitto.shutil.which", lambda *_, **__: None)
    with pytest.raises(Problem, match="apt install mosquitto"):
        measure([2])


@pytest.mark.parametrize("text", ["", "many", "10,0", "10;50"])
def test_what_are_no_numbers_of_cars_is_said(text: str) -> None:
    with pytest.raises(Problem):
        sizes_of(text)
