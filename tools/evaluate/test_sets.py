"""Score any model on handwriting it never saw. Needs LiteRT only.

What is scored here are test sets: no model, threshold or training may be chosen by them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle.bundle import Bundle
from tools.bench.pages import Look, enlarged, page
from tools.evaluate import drawn_pages
from tools.evaluate.candidates import FACTORY_BUNDLE, ComparedModel, of_bundle
from tools.evaluate.drawn_pages import Reads
from tools.evaluate.scores import DigitOutcomes, SetScore, wilson
from tools.train.data import pen
from tools.train.data.datasets import (
    DataError,
    PenDigit,
    mnist,
    optdigits,
    pendigits,
    sheets,
    sudoku_cells,
    unipen,
)

__all__ = ["FACTORY_BUNDLE", "SETS", "SetScore", "evaluate", "measured", "outcome", "wilson"]

CODE = 5
"""Digits in a code: the pad's boxes."""
_PLACING_SEED = 26
_T10K = 10_000
PAGES = 20
"""Drawn pages of each look."""
_ROWS = 3


def evaluate(
    model: ComparedModel | Bundle | Path, data: Path, sets: tuple[str, ...] | None = None
) -> list[SetScore]:
    """Score a model, or the bundle in a folder, on the test sets in `data`; all of SETS unless named.

    Raises BundleError, ModelError, DataError, and ValueError for a set we do not know.
    """
    if unknown := sorted(set(sets or ()) - set(SETS)):
        raise ValueError(f"no such set: {', '.join(unknown)}; there are {', '.join(SETS)}")
    if isinstance(model, Path):
        model = Bundle.load(model)
    candidate = of_bundle(model) if isinstance(model, Bundle) else model
    return [score for name in sets or tuple(SETS) for score in SETS[name](candidate, data)]


def measured(bundle: Bundle, data: Path) -> dict[str, dict[str, float]]:
    """The test sets of single digits as a manifest tells them; one that is not in `data` is left out."""
    scores: list[SetScore] = []
    for name in DIGIT_SETS:
        try:
            scores += evaluate(bundle, data, (name,))
        except DataError:
            continue
    return {
        score.set: {"count": score.count, "share": score.share, "low": score.low, "high": score.high}
        for score in scores
    }


def outcome(candidate: ComparedModel, data: Path, name: str) -> DigitOutcomes:
    """What the model says of every digit of one of DIGIT_SETS. Raises DataError, ModelError."""
    title, inks, labels = DIGIT_SETS[name](data)
    return DigitOutcomes(title, inks, labels, candidate.probabilities(inks))


Digits = tuple[str, list[NDArray[np.uint8]], NDArray[np.int64]]


def _mnist(data: Path) -> Digits:
    pictures = mnist(data, "test")
    title = "MNIST t10k" if len(pictures) == _T10K else f"{len(pictures)} digits held back of MNIST"
    return title, list(pictures.images), pictures.labels


def _pen(data: Path) -> Digits:
    """Each digit written once into a box, off-centre, brush 4."""
    return "pen on the pad, unseen writers, a digit", *_written(pendigits(data, "test"))


def _unipen(data: Path) -> Digits:
    """The same with pens and schools that no digit of the training sets comes from."""
    return "pen on the pad, unseen schools, a digit", *_written(unipen(data, "test"))


def _written(digits: list[PenDigit]) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Each digit's ink in one of the pad's boxes, off-centre, and its label."""
    rng = np.random.default_rng(_PLACING_SEED)
    inks = [pen.on_pad(digit.strokes, rng) for digit in digits]
    return inks, np.array([digit.label for digit in digits])


def _optdigits(data: Path) -> Digits:
    pictures = optdigits(data)
    return "UCI optdigits bitmaps", list(pictures.images), pictures.labels


DIGIT_SETS: dict[str, Callable[[Path], Digits]] = {
    "mnist": _mnist,
    "pen": _pen,
    "unipen": _unipen,
    "optdigits": _optdigits,
}
"""Sets of single digits: what each is called, its inks and labels."""


def _scores(name: str, candidate: ComparedModel, data: Path) -> list[SetScore]:
    answered = outcome(candidate, data, name)
    title = answered.score.set.removesuffix(", a digit")
    if title == answered.score.set:
        return [answered.score]
    return [answered.score, SetScore.of(f"{title}, all five boxes", all_five(answered.right))]


def all_five(right: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of digits in a row, five to a code: which codes are right throughout."""
    return np.asarray(right[: len(right) // CODE * CODE].reshape(-1, CODE).all(axis=1))


def photos(read: Reads, data: Path, limit: int | None = None) -> SetScore:
    """From the photo to the digit: right where exactly that one digit is read in the cell."""
    cells = sudoku_cells(data, "test")
    chosen = spread(len(cells), limit)
    right = ["".join(read(cells.images[index])) == str(cells.labels[index]) for index in chosen]
    return SetScore.of("photographed Sudoku cells, from the photo", np.array(right))


def lines(read: Reads, data: Path) -> SetScore:
    """Photographed sheets: right where a whole line of digits is read. A tuning set, and small."""
    right: list[bool] = []
    for sheet in sheets(data):
        found = read(sheet.photo)
        right += [line in found for line in sheet.lines]
    return SetScore.of("lines on photographed sheets (tuning set)", np.array(right))


LOOKS = {
    "apart": Look(),
    "in a shadow, on squared paper": Look(shadow=True, ruling="squares", tall=52),
    "tilted, on ruled paper": Look(tilt=6, ruling="lines"),
    "some digits touch": Look(gap=(-0.06, 0.2)),
    "all digits touch": Look(gap=(-0.03, 0.02)),
}
"""How the drawn pages look, by what their score is called."""


def pages(read: Reads, data: Path, count: int = PAGES) -> list[SetScore]:
    """Rows of five digits by unseen writers on drawn pages: right where a whole row is read."""
    digits = pendigits(data, "test")
    scores = []
    for number, (name, look) in enumerate(LOOKS.items()):
        rng = np.random.default_rng([_PLACING_SEED, number])
        right: list[bool] = []
        for _ in range(count):
            rows = [[digits[index] for index in rng.integers(0, len(digits), CODE)] for _ in range(_ROWS)]
            inks = [[enlarged(pen.on_pad(each.strokes, rng)) for each in row] for row in rows]
            found = read(page(inks, look, rng))
            right += ["".join(str(each.label) for each in row) in found for row in rows]
        scores.append(SetScore.of(f"rows of five on a page, {name}", np.array(right)))
    return scores


def spread(count: int, limit: int | None) -> NDArray[np.int64]:
    """All indices below `count`, or `limit` of them, evenly spread."""
    return np.linspace(0, count - 1, min(count, limit or count)).round().astype(np.int64)


PICTURE_SETS: dict[str, Callable[[Reads, Path, int | None], list[SetScore]]] = {
    "photos": lambda read, data, limit: [photos(read, data, limit)],
    "pages": lambda read, data, limit: pages(read, data, PAGES if limit is None else max(1, limit // 60)),
    "alone": lambda read, data, limit: drawn_pages.alone(read, data, limit or drawn_pages.SINGLES),
    "mixed": lambda read, data, limit: drawn_pages.mixed(read, data, limit or drawn_pages.ROWS),
    "printed": lambda read, _, limit: drawn_pages.printed(read, limit or drawn_pages.PRINTED),
    "sheets": lambda read, data, _: [lines(read, data)],
}
"""Sets of pictures; the last parameter is about how many of them are read, None for all."""


DRAWN = frozenset({"printed"})
"""Sets that need no data."""


def _pictures(name: str, candidate: ComparedModel, data: Path) -> list[SetScore]:
    reader = candidate.reader()
    read = reader.read if name == "pages" else reader.read_any_way_up
    return PICTURE_SETS[name](lambda picture: [line.text for line in read(picture)], data, None)


SETS: dict[str, Callable[[ComparedModel, Path], list[SetScore]]] = {
    **{name: partial(_scores, name) for name in DIGIT_SETS},
    **{name: partial(_pictures, name) for name in PICTURE_SETS},
}
