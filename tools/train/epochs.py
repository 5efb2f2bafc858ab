"""Make epochs of augmented digits, in worker processes, while the network trains on the one before."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inference.normalise import SIDE, normalise
from models.ink import synthetic_handwriting as hand
from tools.train.data import pen, raster
from tools.train.data.datasets import (
    DataError,
    PenDigit,
    Pictures,
    bhmsds,
    mnist,
    pendigits,
    semeion,
    unipen,
)
from tools.train.data.mixture import Mixture
from tools.train.data.rows import RowMaker
from tools.train.data.styles import restyled

Pixels = NDArray[np.uint8]

SEED_OF_THE_HAND = 1 << 32
"""Writers of the built-in hand are drawn from above this, so that its own scenes show others."""


NOTHING = Pictures(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Sources:
    """The training parts of all sets, in memory."""

    mnist: Pictures
    pen: list[PenDigit]
    unipen: list[PenDigit]
    bhmsds: Pictures
    semeion: Pictures
    rows: RowMaker | None = None
    """Writes with the pen digits."""

    @classmethod
    def read(cls, folder: Path, mixture: Mixture | None = None, drawings: Sequence[PenDigit] = ()) -> Sources:
        """Read them from the data folder; a set of which the mixture takes nothing needn't be there.

        `drawings` are more pen digits, such as those drawn on the pad. Raises DataError.
        """
        taken = mixture or Mixture()
        written = _pen(folder, drawings) if taken.pen else []
        of_schools = unipen(folder, "train") if taken.unipen else []
        return cls(
            mnist(folder, "train") if taken.mnist else NOTHING,
            written,
            of_schools,
            bhmsds(folder) if taken.bhmsds else NOTHING,
            semeion(folder) if taken.semeion else NOTHING,
            RowMaker([*written, *of_schools]) if taken.rows else None,
        )


def epoch(sources: Sources, mixture: Mixture, seed: int, number: int) -> tuple[Pixels, NDArray[np.uint8]]:
    """One epoch: shuffled crops (n, 28, 28) uint8 and labels (n,) uint8; the same for the same arguments."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, number])
    crops = np.empty((mixture.total, SIDE, SIDE), np.uint8)
    labels = np.empty(mixture.total, np.uint8)
    places = iter(rng.permutation(mixture.total))

    def add(ink: Pixels, label: int, photographed: float = mixture.photographed) -> None:
        if rng.random() < photographed:
            ink = raster.photographed(ink, rng)
        at = next(places)
        crops[at], labels[at] = normalise(ink), label

    for index in _picks(len(sources.mnist), mixture.mnist, rng):
        image, label = sources.mnist.images[index], int(sources.mnist.labels[index])
        if rng.random() < mixture.untouched:
            at = next(places)
            crops[at], labels[at] = normalise(image), label
        else:
            add(raster.varied(image, rng), label, mixture.photographed / 2)
    for digits, count in ((sources.pen, mixture.pen), (sources.unipen, mixture.unipen)):
        for index in _picks(len(digits), count, rng):
            digit = digits[index]
            add(pen.varied(restyled(digit.strokes, digit.label, rng), rng), digit.label)
    for pictures, count, aspect in (
        (sources.bhmsds, mixture.bhmsds, 0.15),
        (sources.semeion, mixture.semeion, 0.15),
    ):
        for index in _picks(len(pictures), count, rng):
            image = pictures.images[index]
            if pictures is sources.bhmsds:
                image = _with_likely_aspect(image, int(pictures.labels[index]), rng)
            add(raster.varied(image, rng, aspect), int(pictures.labels[index]))
    if sources.rows is not None:
        for ink, label in sources.rows.inks(rng, mixture.rows):
            at = next(places)
            crops[at], labels[at] = normalise(ink), label
    for _ in range(mixture.hand):
        label = int(rng.integers(10))
        writer = SEED_OF_THE_HAND + int(rng.integers(1 << 31))
        strokes = [np.array(stroke) for stroke in hand.write(str(label), writer)[0]]
        add(pen.varied(strokes, rng), label)
    return crops, labels


def epochs(
    folder: Path,
    mixture: Mixture,
    seed: int,
    first: int,
    last: int,
    drawings: Sequence[PenDigit] = (),
) -> Generator[tuple[Pixels, Pixels], None, None]:
    """Epochs `first` to `last` (exclusive), each made by a worker while the one before is in use."""
    with ProcessPoolExecutor(1, get_context("spawn"), _prepare, (folder, mixture, drawings)) as pool:
        ahead: list[Future[tuple[Pixels, Pixels]]] = []
        for number in range(first, last):
            ahead.append(pool.submit(_one_epoch, mixture, seed, number))
            if len(ahead) > 1:
                yield ahead.pop(0).result()
        for pending in ahead:
            yield pending.result()


def _pen(folder: Path, drawings: Sequence[PenDigit]) -> list[PenDigit]:
    """Writers 1 to 20 and the drawings; where only drawings are there, these."""
    try:
        return [*pendigits(folder, "train"), *drawings]
    except DataError:
        if not drawings:
            raise
        return list(drawings)


_in_worker: Sources | None = None


def _prepare(folder: Path, mixture: Mixture, drawings: Sequence[PenDigit]) -> None:
    global _in_worker
    _in_worker = Sources.read(folder, mixture, drawings)


def _one_epoch(mixture: Mixture, seed: int, number: int) -> tuple[Pixels, Pixels]:
    assert _in_worker is not None
    return epoch(_in_worker, mixture, seed, number)


def _picks(available: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` indices: all of them as often as they go in, the rest drawn without repetition."""
    if not count:
        return np.zeros(0, np.int64)
    whole = np.tile(np.arange(available), count // available)
    return np.concatenate([whole, rng.permutation(available)[: count % available]])


def _with_likely_aspect(image: Pixels, label: int, rng: np.random.Generator) -> Pixels:
    """A digit that was stretched to a square, made as narrow as digits are; ones are narrowest."""
    narrow = rng.uniform(0.35, 0.8) if label == 1 else rng.uniform(0.6, 1.0)
    big = cv2.resize(image, (max(8, round(56 * narrow)), 56), interpolation=cv2.INTER_LINEAR)
    return np.pad(np.asarray(big, np.uint8), 3)


def validation(folder: Path, repeats: int = 3) -> dict[str, tuple[Pixels, NDArray[np.int64]]]:
    """The digits a model is chosen by: MNIST's held-out 5,000, and pen strokes on the pad.

    The strokes are those of UCI's writers 21 to 25 and of one UNIPEN contributor. A set that the folder
    lacks is left out, but for MNIST's.
    """
    pictures = mnist(folder, "validation")
    sets = {"mnist": (np.stack([normalise(image) for image in pictures.images]), pictures.labels)}
    try:
        digits = pendigits(folder, "validation") * repeats
    except DataError:
        return sets
    rng = np.random.default_rng(21)
    inks = [pen.on_pad(digit.strokes, rng) for digit in digits]
    labels = np.array([digit.label for digit in digits])
    sets["pen"] = (np.stack([normalise(ink) for ink in inks]), labels)
    try:
        digits = unipen(folder, "validation") * repeats
    except DataError:
        return sets
    inks = [pen.on_pad(digit.strokes, rng, int(rng.integers(2, 7))) for digit in digits]
    sets["unipen"] = (np.stack([normalise(ink) for ink in inks]), np.array([digit.label for digit in digits]))
    return sets


def varied_validation(folder: Path, repeats: int = 2) -> dict[str, tuple[Pixels, NDArray[np.int64]]]:
    """Pen writers 21 to 25 as other hands might have written them: hard enough to tell good epochs apart.

    Empty where the folder has no pen strokes.
    """
    try:
        digits = pendigits(folder, "validation") * repeats
    except DataError:
        return {}
    rng = np.random.default_rng(25)
    crops = np.stack([normalise(pen.varied(digit.strokes, rng)) for digit in digits])
    return {"varied pen": (crops, np.array([digit.label for digit in digits]))}
