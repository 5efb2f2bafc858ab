"""The threshold below which a digit is refused, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from tests.conftest import SHARED
from tests.models.making import FACTORY
from tools.evaluate.rejection import lowest_threshold

DATA = SHARED / "data"


def test_no_more_is_refused_than_must_be() -> None:
    confidence = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    right = np.array([True, False, True, False, True])
    assert lowest_threshold(confidence, right, 1.0) == 0.9
    assert lowest_threshold(confidence, right, 0.6) == 0.5
    assert lowest_threshold(confidence, ~right, 1.0) > 1, "nothing is sure enough"


def test_digits_of_one_confidence_are_refused_together() -> None:
    confidence = np.array([1.0, 1.0, 1.0, 0.9])
    assert lowest_threshold(confidence, np.array([True, True, False, True]), 0.7) == 0.9
    assert lowest_threshold(confidence, np.array([True, True, False, False]), 1.0) > 1


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data, the handwriting sets, is absent")
def test_few_pen_strokes_are_refused_for_the_rest_to_be_right() -> None:
    from tools.evaluate.candidates import of_bundle
    from tools.evaluate.rejection import refusal

    figures = refusal(of_bundle(Bundle.load(FACTORY)), DATA)
    assert figures.refused.count == 1248
    assert figures.refused.share <= 0.06
    assert figures.kept.share >= 0.995
