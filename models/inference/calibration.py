"""Make a model's confidence mean what it says: temperature scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = 0.05, 20.0
_TINY = 1e-12
"""Stands for a probability of nothing where its logarithm is taken."""
_ROUNDED = 0.02
"""How far from 1 the sum of ten probabilities may be: an integer model rounds each to 1/256."""


def are_probabilities(answers: NDArray[np.float32]) -> bool:
    """Whether every row of a model's answers, (n, labels), is a distribution, as after a softmax."""
    return bool((answers >= 0).all() and (np.abs(answers.sum(axis=1) - 1) < _ROUNDED).all())


def least_probability(answers: NDArray[np.float32]) -> float:
    """What stands for a probability of 0: half a step where a model rounds to 1/256, else next to nothing."""
    steps = answers * 256
    return 1 / 512 if np.allclose(steps, np.rint(steps), atol=1e-3) else _TINY


def as_logits(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """A model's answers as logits, whatever they are."""
    if not are_probabilities(answers):
        return answers
    return np.log(np.maximum(answers, np.float32(least_probability(answers))))


def temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature that makes held-out labels likeliest (Guo et al., 2017), 0.05 to 20.

    `logits` (n, labels); found by golden-section search over its logarithm, in which the likelihood has a
    single peak.
    """
    low, high = np.log(_LOW), np.log(_HIGH)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if surprise(logits, labels, float(np.exp(left))) < surprise(logits, labels, float(np.exp(right))):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 4)


def surprise(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    """Mean negative log-likelihood of the labels at this temperature."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(scaled).sum(axis=1))
    return float((log_sum - scaled[np.arange(len(labels)), labels]).mean())
