"""Doubtful digits are looked at again, half a pixel off."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle import Bundle
from models.careful import DOUBTFUL, CarefulClassifier, shifted
from models.runtime import Classifier
from tests.models.making import FACTORY


def test_a_shift_is_half_a_pixel_towards_a_corner() -> None:
    crop = np.zeros((28, 28), np.uint8)
    crop[10, 12] = 200
    for moved, (row, column) in zip(shifted(crop), [(10, 12), (10, 11), (9, 12), (9, 11)], strict=True):
        assert moved.sum() == 200
        assert (moved[row : row + 2, column : column + 2] == 50).all()
        rows, columns = np.nonzero(moved)
        assert (abs(rows.mean() - 10), abs(columns.mean() - 12)) == (0.5, 0.5)


def test_only_doubtful_answers_change() -> None:
    bundle = Bundle.load(FACTORY)
    rng = np.random.default_rng(1)
    blurred = np.stack([shifted(crop).mean(axis=0) for crop in bundle.golden().crops])
    crops = np.clip(blurred + rng.normal(0, 40, blurred.shape), 0, 255).astype(np.uint8)
    plain, careful = Classifier(bundle).classify(crops), CarefulClassifier(bundle).classify(crops)
    doubtful = plain.max(axis=1) < DOUBTFUL
    assert 5 < doubtful.sum() < len(crops)
    assert np.array_equal(careful[~doubtful], plain[~doubtful])
    assert not (careful[doubtful] == plain[doubtful]).all(axis=1).any()
    assert careful.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_no_digits_no_answers() -> None:
    assert CarefulClassifier(Bundle.load(FACTORY)).classify(np.zeros((0, 28, 28), np.uint8)).shape == (0, 10)
