"""Score a bundle on handwriting it never saw: a table, or JSON. Needs LiteRT only.

What is scored here are test sets: no model, threshold or training may be chosen by them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import models
from models.bundle import Bundle, BundleError
from models.normalise import normalise
from models.runtime import Classifier, ModelError
from tools.train import calibrate, pen
from tools.train.datasets import DataError, mnist, optdigits, pendigits, sheets, sudoku_cells

FACTORY_BUNDLE = Path(models.__file__).parent / "factory"
CODE = 5
"""Digits in a code: the pad's boxes."""
_PLACING_SEED = 26


@dataclass(frozen=True)
class Score:
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
    def of(cls, name: str, right: NDArray[np.bool_], confidence: NDArray[np.floating] | None = None) -> Score:
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


def evaluate(bundle: Bundle | Path, data: Path, sets: tuple[str, ...] | None = None) -> list[Score]:
    """Score a bundle, or the one in a folder, on the test sets in `data`; all of SETS unless named.

    Raises BundleError, ModelError, DataError, and ValueError for a set we do not know.
    """
    if unknown := sorted(set(sets or ()) - set(SETS)):
        raise ValueError(f"no such set: {', '.join(unknown)}; there are {', '.join(SETS)}")
    classifier = Classifier(bundle if isinstance(bundle, Bundle) else Bundle.load(bundle))
    return [score for name in sets or tuple(SETS) for score in SETS[name](classifier, data)]


def measured(bundle: Bundle, data: Path) -> dict[str, dict[str, float]]:
    """The test sets of single digits as a manifest tells them; one that is not in `data` is left out."""
    scores: list[Score] = []
    for name in ("mnist", "pen", "optdigits"):
        try:
            scores += evaluate(bundle, data, (name,))
        except DataError:
            continue
    return {
        score.set: {"count": score.count, "share": score.share, "low": score.low, "high": score.high}
        for score in scores
    }


def _mnist(classifier: Classifier, data: Path) -> list[Score]:
    pictures = mnist(data, "test")
    return [_digits("MNIST t10k", classifier, list(pictures.images), pictures.labels)]


def _pen(classifier: Classifier, data: Path) -> list[Score]:
    """Each digit written once into a box, off-centre, brush 4; five of one after another make a code."""
    digits = pendigits(data, "test")
    rng = np.random.default_rng(_PLACING_SEED)
    inks = [pen.on_pad(digit.strokes, rng) for digit in digits]
    labels = np.array([digit.label for digit in digits])
    right, confidence = _answers(classifier, inks, labels)
    codes = np.all(right[: len(right) // CODE * CODE].reshape(-1, CODE), axis=1, keepdims=True)[:, 0]
    return [
        Score.of("pen on the pad, unseen writers, a digit", right, confidence),
        Score.of("pen on the pad, unseen writers, all five boxes", codes),
    ]


def _optdigits(classifier: Classifier, data: Path) -> list[Score]:
    pictures = optdigits(data)
    return [_digits("UCI optdigits bitmaps", classifier, list(pictures.images), pictures.labels)]


def _photos(classifier: Classifier, data: Path) -> list[Score]:
    """From the photo to the digit: right where exactly that one digit is read in the cell."""
    from services.recognizer.pipeline import Reader

    reader = Reader(classifier)
    cells = sudoku_cells(data, "test")
    read = [
        "".join(digit.label for line in reader.read(cell) for digit in line.digits) for cell in cells.images
    ]
    right = np.array([text == str(label) for text, label in zip(read, cells.labels, strict=True)])
    return [Score.of("photographed Sudoku cells, from the photo", right)]


def _sheets(classifier: Classifier, data: Path) -> list[Score]:
    """Photographed sheets: right where a whole line of digits is read. A tuning set, and small."""
    from services.recognizer.pipeline import Reader

    reader = Reader(classifier)
    right: list[bool] = []
    for sheet in sheets(data):
        read = [line.text for line in reader.read_any_way_up(sheet.photo)]
        right += [line in read for line in sheet.lines]
    return [Score.of("lines on photographed sheets (tuning set)", np.array(right))]


SETS: dict[str, Callable[[Classifier, Path], list[Score]]] = {
    "mnist": _mnist,
    "pen": _pen,
    "optdigits": _optdigits,
    "photos": _photos,
    "sheets": _sheets,
}


def _digits(
    name: str, classifier: Classifier, inks: list[NDArray[np.uint8]], labels: NDArray[np.int64]
) -> Score:
    return Score.of(name, *_answers(classifier, inks, labels))


def _answers(
    classifier: Classifier, inks: list[NDArray[np.uint8]], labels: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which digits were read right, and with what confidence."""
    probabilities = classifier.classify(np.stack([normalise(ink) for ink in inks]))
    names = np.array(classifier.labels)
    return names[probabilities.argmax(axis=1)] == labels.astype(str), probabilities.max(axis=1)


def command(
    data: Annotated[Path, typer.Argument(help="The folder that holds the data sets.")],
    bundle: Annotated[Path, typer.Option(help="The bundle's folder.")] = FACTORY_BUNDLE,
    only: Annotated[list[str] | None, typer.Option("--set", help="One of the sets; again for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Score a model on handwriting it never saw."""
    try:
        loaded = Bundle.load(bundle)
        scores = evaluate(loaded, data, tuple(only) if only else None)
    except (BundleError, ModelError, DataError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for score in scores:
        if as_json:
            print(json.dumps({"model": loaded.digest, **asdict(score)}))
        else:
            interval = f"{score.low:.2%} to {score.high:.2%}"
            print(f"{score.set:48} {score.right:6} of {score.count:6}  {score.share:7.2%}  ({interval})")


if __name__ == "__main__":
    typer.run(command)
