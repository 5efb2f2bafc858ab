"""Doubtful digits are looked at again, a pixel off."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from models.inference.runtime import Classifier
from models.inference.test_time_averaging import DOUBTFUL, CarefulClassifier, shifted
from tests.models.making import FACTORY


def test_a_shift_is_a_pixel_up_down_left_and_right() -> None:
    crop = np.zeros((28, 28), np.uint8)
    crop[10, 12], crop[0, 0] = 200, 100
    moved = shifted(crop)
    for shift, place in zip(moved, [(9, 12), (11, 12), (10, 11), (10, 13)], strict=True):
        assert shift[place] == 200
        assert np.count_nonzero(shift == 200) == 1
    assert [np.count_nonzero(shift == 100) for shift in moved] == [0, 1, 0, 1], (
        "what leaves does not come back"
    )


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
