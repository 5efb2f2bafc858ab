"""Styles of other schools are added to a digit now and then, and only where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from models.ink.synthetic_handwriting import write
from tools.train.data.styles import restyled

LINE = np.column_stack([np.full(20, 50.0), np.linspace(0, 300, 20)])
RING = np.column_stack([np.sin(np.linspace(0, 6.2, 40)) * 80, np.cos(np.linspace(0, 6.2, 40)) * 120])
SEVEN = np.array([[0.0, 0.0], [80.0, 0.0], [150.0, 5.0], [100.0, 120.0], [60.0, 290.0]])


@pytest.mark.parametrize(("label", "stroke"), [(0, RING), (1, LINE), (7, SEVEN)])
def test_some_digits_get_a_part_and_most_stay_as_they_are(label: int, stroke: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    drawn = [restyled([stroke], label, rng) for _ in range(400)]
    changed = [strokes for strokes in drawn if len(strokes) > 1 or len(strokes[0]) != len(stroke)]
    assert 40 < len(changed) < 200
    points = np.vstack([point for strokes in changed for point in strokes])
    assert np.isfinite(points).all()
    assert np.ptp(points, axis=0).max() < 2 * np.ptp(stroke, axis=0).max(), (
        "a part is no larger than its digit"
    )


def test_a_slash_goes_through_its_zero() -> None:
    rng = np.random.default_rng(2)
    drawn = [restyled([RING], 0, rng) for _ in range(400)]
    slashes = [strokes[1] for strokes in drawn if len(strokes) > 1 and len(strokes[1]) > 1]
    assert slashes
    for slash in slashes:
        assert (np.abs(slash.mean(axis=0)) < 0.4 * np.ptp(RING, axis=0)).all(), "near the middle"


@pytest.mark.parametrize("label", [2, 3, 4, 5, 6, 8, 9])
def test_other_digits_are_never_changed(label: int) -> None:
    rng = np.random.default_rng(3)
    strokes = [np.array(stroke) for stroke in write(str(label), 5)[0]]
    for _ in range(100):
        assert all(map(np.array_equal, restyled(strokes, label, rng), strokes))


def test_a_digit_of_several_strokes_may_have_the_part_already_and_stays() -> None:
    rng = np.random.default_rng(4)
    assert all(len(restyled([LINE, LINE + 30], 1, rng)) == 2 for _ in range(100))
