"""Which of the things in a row are its code: the gate's scores, seen in company."""

from __future__ import annotations

import numpy as np
import pytest

from services.recognizer.doubt import DoubtSettings, codes_among
from services.recognizer.locate import Candidate
from services.recognizer.reading import GroupSettings

SURE, POSSIBLE, NONE = 0.95, 0.2, 0.02
WIDE, UPRIGHT = 30, 12


def row(*things: tuple[float, int]) -> list[int]:
    """Which of the things, (score, width), are in the one code that is found; none where there is no code."""
    ink = np.zeros((50, 30), np.uint8)
    ink[10:40, 13:17] = 255
    candidates = [
        Candidate((40 * place, 100, width, 50), ink, stroke=6.0, contrast=0.8, calm=0.9)
        for place, (_, width) in enumerate(things)
    ]
    scores = np.array([score for score, _ in things], np.float32)
    codes = codes_among(candidates, scores, GroupSettings(), DoubtSettings())
    return codes[0] if codes else []


@pytest.mark.parametrize(
    ("things", "kept"),
    [
        pytest.param([(SURE, WIDE)] * 4, [0, 1, 2, 3], id="all are sure"),
        pytest.param([(POSSIBLE, WIDE), *[(SURE, WIDE)] * 4], [0, 1, 2, 3, 4], id="possible, first"),
        pytest.param([*[(SURE, WIDE)] * 4, (POSSIBLE, WIDE)], [0, 1, 2, 3, 4], id="possible, last"),
        pytest.param([(POSSIBLE, UPRIGHT), *[(SURE, WIDE)] * 4], [1, 2, 3, 4], id="possible, an edge"),
        pytest.param([*[(SURE, WIDE)] * 2, (POSSIBLE, WIDE)], [0, 1], id="too few are sure"),
        pytest.param([(SURE, WIDE), (NONE, WIDE), *[(SURE, WIDE)] * 3], [0, 1, 2, 3, 4], id="none, between"),
        pytest.param([*[(SURE, WIDE)] * 4, (NONE, WIDE)], [0, 1, 2, 3], id="none, at the end"),
        pytest.param([(POSSIBLE, WIDE)] * 4, [], id="none is sure"),
    ],
)
def test_the_code_of_a_row(things: list[tuple[float, int]], kept: list[int]) -> None:
    assert row(*things) == kept
