"""Find out how a network wants its digits: which is ink, the range of values, the size, the labels' order.

A model file says the shape of its input and no more. So the network is shown the car's golden digits in every
usual way, and the way in which it is most right about them is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle.digits import SIDE, Golden
from models.bundle.input_shape import picture_shape
from models.bundle.manifest import RANGES, InputContract
from models.inference.calibration import as_logits, surprise, temperature

CLEARLY_BETTER = 0.9
"""Of a way that fits better the surprise at the right labels is less than this share of another's."""
_TRIED = 100
"""Golden digits that every way is tried on."""
_REORDERED_BETTER = 0.1
"""More of the digits: another order of labels is not believed for less."""

Answers = NDArray[np.float32]


@dataclass(frozen=True)
class Convention:
    """How a network takes digits, and what the columns of its answer stand for."""

    input: InputContract
    labels: tuple[str, ...]
    answers: Answers
    """To all golden digits, (n, labels)."""


def find_convention(
    answer: Callable[[InputContract, NDArray[np.uint8]], Answers],
    contract: InputContract,
    golden: Golden,
    labels: Sequence[str],
    span: tuple[float, float] | None = None,
) -> Convention:
    """The convention under which the right labels of the golden digits surprise a network least.

    `answer` gives the network's answers, (n, labels), to crops under a contract; `contract` has the shape and
    type of its input. Where that takes integers, `span` is what the least and the largest stand for.
    """
    due = np.array([labels.index(label) for label in golden.labels])
    some = np.unique(np.linspace(0, len(due) - 1, min(_TRIED, len(due))).round().astype(int))
    chosen, least = contract, np.inf
    for candidate in _candidates(contract, span):
        found = answer(candidate, golden.crops[some])
        columns = np.argsort(_order(found, due[some], len(labels)))[due[some]]
        logits = as_logits(found)
        surprised = surprise(logits, columns, temperature(logits, columns))
        if surprised < CLEARLY_BETTER * least:
            chosen, least = candidate, surprised
    answers = answer(chosen, golden.crops)
    order = _order(answers, due, len(labels))
    return Convention(chosen, tuple(labels[label] for label in order), answers)


def _candidates(contract: InputContract, span: tuple[float, float] | None) -> Iterator[InputContract]:
    ranges = [range_ for range_ in RANGES.values() if span is None or _fills(range_, span)]
    picture = picture_shape(contract.shape)
    assert picture is not None
    larger = picture.side > SIDE
    for polarity in ("light_on_dark", "dark_on_light"):
        for scale, offset in ranges or RANGES.values():
            for fit in ("resized", "padded") if larger else ("resized",):
                yield contract.model_copy(
                    update={"polarity": polarity, "scale": scale, "offset": offset, "fit": fit}
                )


def _fills(range_: tuple[float, float], span: tuple[float, float]) -> bool:
    """Whether integers that stand for the numbers of a span can tell the values of a range apart."""
    scale, offset = range_
    width, slack = 255 * scale, (span[1] - span[0]) / 100
    inside = span[0] - slack <= offset and offset + width <= span[1] + slack
    return inside and width > (span[1] - span[0]) / 2


def _order(answers: Answers, due: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Which label each column stands for: its own, unless in another order far more digits are right."""
    plain = np.arange(count)
    table = np.zeros((count, count))
    np.add.at(table, (answers.argmax(axis=1), due), 1)
    order: NDArray[np.int64] = table.argmax(axis=1)
    gain = table[plain, order].sum() - table.trace()
    if len(set(order.tolist())) < count or gain < _REORDERED_BETTER * len(due):
        return plain
    return order
