"""What it costs to be right: the share of digits to refuse so that nearly all of the rest are right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.evaluate.candidates import ComparedModel
from tools.evaluate.scores import SetScore
from tools.evaluate.test_sets import outcome
from tools.train.data import pen
from tools.train.data.datasets import pendigits

DUE = 0.998
"""Share of the digits not refused that is to be right."""
_CAUTION = 2
"""So many times fewer mistakes are allowed where the threshold is chosen: other writers may be harder."""
_PLACINGS = 3
_PLACING_SEED = 22


@dataclass(frozen=True)
class Rejection:
    """What a threshold of confidence does to digits that it was not chosen on."""

    threshold: float
    refused: SetScore
    """How many it refuses, of all."""
    kept: SetScore
    """How many of the others are right."""


def refusal(candidate: ComparedModel, data: Path, due: float = DUE) -> Rejection:
    """Pen strokes on the pad: the threshold is chosen on writers 21 to 25 and judged on writers 26 to 30.

    Raises DataError, ModelError.
    """
    digits = pendigits(data, "validation") * _PLACINGS
    rng = np.random.default_rng(_PLACING_SEED)
    probabilities = candidate.probabilities([pen.on_pad(digit.strokes, rng) for digit in digits])
    right = probabilities.argmax(axis=1) == np.array([digit.label for digit in digits])
    threshold = lowest_threshold(probabilities.max(axis=1), right, 1 - (1 - due) / _CAUTION)
    judged = outcome(candidate, data, "pen")
    keep = judged.confidence >= threshold
    return Rejection(
        threshold=threshold,
        refused=SetScore.of("refused, pen on the pad", ~keep),
        kept=SetScore.of("right of what is not refused, pen on the pad", judged.right[keep]),
    )


def lowest_threshold(confidence: NDArray[np.floating], right: NDArray[np.bool_], due: float) -> float:
    """The least confidence from which on `due` of the digits are right: it refuses the fewest.

    Above 1, which refuses all, where there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    falls = np.append(np.diff(confidence[order]) < 0, True)  # equal confidences are kept or refused together
    enough = np.flatnonzero((shares >= due) & falls)
    return float(confidence[order[enough[-1]]]) if len(enough) else float(np.nextafter(1.0, 2.0))
