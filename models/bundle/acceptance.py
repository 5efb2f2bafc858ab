"""The golden test: a model proves itself on digits it must know before it reads anything else.

Light to import: the throw-away process starts with it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from messages.errors import ErrorCode
from models.bundle.digits import Golden
from models.inference.runtime import Classifier
from models.refusal import Refusal

AT_ONCE = 5
"""Digits in one timed run: the pad's boxes, a code's digits."""


class Terms(Protocol):
    """What is due: `models.bundle.manifest.GoldenTerms`, or anything like it."""

    @property
    def accuracy(self) -> float: ...

    @property
    def latency_ms(self) -> float: ...


@dataclass(frozen=True)
class Proof:
    """What a model showed on golden digits."""

    accuracy: float
    """The share of them right, 0 to 1."""
    latency_ms: float
    """Five digits classified, median."""
    digits: int
    """How many there were."""


def run_golden(classifier: Classifier, golden: Golden) -> Proof:
    """Classify the golden digits, five at once and timed. Raises ModelError where an answer is not finite."""
    count = len(golden.labels)
    fives = np.resize(golden.crops, (math.ceil(count / AT_ONCE), AT_ONCE, *golden.crops.shape[1:]))
    classifier.classify(fives[0])  # the first run sets up what the others use
    found: list[int] = []
    times: list[float] = []
    for five in fives:
        start = time.perf_counter()
        answer = classifier.classify(five)
        times.append(time.perf_counter() - start)
        found += answer.argmax(axis=1).tolist()
    right = sum(classifier.labels[index] == label for index, label in zip(found, golden.labels, strict=False))
    return Proof(right / count, sorted(times)[len(times) // 2] * 1e3, count)


def judge(proof: Proof, terms: Terms, name: str = "The model") -> None:
    """Raises Refusal where the proof falls short of the terms: inaccurate, too_slow."""
    if not proof.accuracy >= terms.accuracy:
        raise Refusal(
            ErrorCode.INACCURATE,
            f"{name} reads {proof.accuracy:.1%} of {proof.digits} golden digits; "
            f"{terms.accuracy:.0%} is due. It must take digits bright on black, from 0 to 1.",
        )
    if not proof.latency_ms <= terms.latency_ms:
        raise Refusal(
            ErrorCode.TOO_SLOW,
            f"{name} takes {proof.latency_ms:.1f} ms for five digits on this machine; "
            f"{terms.latency_ms:g} ms are allowed. Build a smaller network.",
        )
