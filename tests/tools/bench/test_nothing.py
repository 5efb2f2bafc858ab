"""Views with nothing to read in them: what they show, and that nothing is read in them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from models.inference.runtime import Classifier
from services.recognizer.pipeline import Reader
from tests.models.making import FACTORY

pytest.importorskip("matplotlib", reason="its typefaces and photos are part of the pictures")
pytest.importorskip("sklearn", reason="its photos are part of the pictures")

from tools.bench.backdrops import KINDS, words
from tools.bench.nothing import invented, video


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(Classifier(Bundle.load(FACTORY)))


def test_printed_words_hold_no_digits_and_nothing_that_looks_like_one() -> None:
    assert len(words()) > 60
    assert not set("".join(words()).upper()) & set("0123456789OILZSB")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_shows_the_same_video_which_moves(kind: str) -> None:
    first, second = ([frame.copy() for frame in islice(video(kind, 0, 5), 2)] for _ in range(2))
    assert np.array_equal(first, second)
    assert first[0].shape == (480, 640, 3)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], next(video(kind, 1, 5)))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_where_nothing_is_written(reader: Reader, kind: str) -> None:
    assert invented(reader, kind, number=0, seed=5, frames=60) == []
