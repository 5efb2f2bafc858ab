"""Temperature and calibration error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.evaluate.test_sets import wilson
from tools.train.calibrate import expected_error, surprise, temperature


@pytest.mark.parametrize("overstated", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_overstates(overstated: float) -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 2, (20_000, 10)).astype(np.float32)
    labels = (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)  # drawn as softmax of them says
    found = temperature(honest * overstated, labels)
    assert found == pytest.approx(overstated, rel=0.05)
    for other in (0.7, 1.4):
        assert surprise(honest * overstated, labels, found) < surprise(
            honest * overstated, labels, found * other
        )


def test_expected_error_of_honest_and_of_boasting_confidence() -> None:
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 1, 50_000)
    right = rng.random(50_000) < confidence
    assert expected_error(confidence, right) < 0.01
    assert expected_error(np.full(1000, 0.99), rng.random(1000) < 0.7) == pytest.approx(0.29, abs=0.04)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_share(hits: int, misses: int) -> None:
    low, high = wilson(hits, hits + misses)
    assert 0 <= low <= high <= 1
    if hits + misses:
        assert low - 1e-12 <= hits / (hits + misses) <= high + 1e-12


def test_the_interval_is_wilsons() -> None:
    low, high = wilson(1223, 1248)
    assert (round(low, 4), round(high, 4)) == (0.9706, 0.9864)
