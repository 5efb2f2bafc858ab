"""How well digits were read: shares with their intervals, and who was taken for whom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.train import calibrate

DIGITS = 10


@dataclass(frozen=True)
class SetScore:
    """How one test set was read."""

    set: str
    count: int
    right: int
    share: float
    low: float
    """Wilson 95 % interval of the share."""
    high: float
    calibration_error: float | None = None
    """How far stated confidence is from the share that is right (expected error)."""

    @classmethod
    def of(
        cls, name: str, right: NDArray[np.bool_], confidence: NDArray[np.floating] | None = None
    ) -> SetScore:
        """The score of answers that were right or not, with their confidences where these are calibrated."""
        count, hits = len(right), int(right.sum())
        low, high = wilson(hits, count)
        error = None if confidence is None else round(calibrate.expected_error(confidence, right), 5)
        return cls(name, count, hits, round(hits / max(1, count), 5), round(low, 5), round(high, 5), error)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927): `hits` of `count`."""
    if not count:
        return 0.0, 1.0
    z, share = 1.959964, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


@dataclass(frozen=True)
class DigitOutcomes:
    """What a model said of every digit of a set."""

    set: str
    inks: list[NDArray[np.uint8]]
    """The digits as the set has them, bright on black, each (h, w)."""
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    """(n, 10)."""

    @property
    def said(self) -> NDArray[np.int64]:
        """The likeliest digit of each."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.said == self.labels)

    @property
    def confidence(self) -> NDArray[np.float32]:
        return np.asarray(self.probabilities.max(axis=1), np.float32)

    @property
    def score(self) -> SetScore:
        return SetScore.of(self.set, self.right, self.confidence)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(10, 10): how often the digit of the row was taken for that of the column."""
        counts = np.zeros((DIGITS, DIGITS), np.int64)
        np.add.at(counts, (self.labels, self.said), 1)
        return counts

    def mistakes(self) -> NDArray[np.int64]:
        """Indices of those read wrong, the surest first."""
        wrong = np.flatnonzero(~self.right)
        return np.asarray(wrong[np.argsort(-self.confidence[wrong], kind="stable")])

    def reliability(self, bins: int = 10) -> list[dict[str, Any]]:
        """Stated confidence against the share right, over bins of equal width; empty ones are left out."""
        edges = np.minimum((self.confidence * bins).astype(int), bins - 1)
        return [
            {
                "confidence": float(self.confidence[edges == index].mean()),
                "right": float(self.right[edges == index].mean()),
                "count": int((edges == index).sum()),
            }
            for index in range(bins)
            if (edges == index).any()
        ]
