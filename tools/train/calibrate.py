"""How far a model's confidence is from its accuracy; `models.inference.calibration` mends it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.inference.calibration import surprise, temperature

__all__ = ["expected_error", "surprise", "temperature"]


def expected_error(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from the share right, over bins of equal count."""
    order = np.argsort(confidence)
    parts = np.array_split(order, min(bins, max(1, len(order))))
    gaps = [abs(confidence[part].mean() - right[part].mean()) * len(part) for part in parts if len(part)]
    return float(np.sum(gaps) / max(1, len(order)))
