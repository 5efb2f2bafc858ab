"""Digits that run into one another are cut apart; what can't be read is said to be there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle
from models.inference.gate import Gate
from models.inference.normalise import normalise
from models.inference.test_time_averaging import CarefulClassifier
from models.ink import synthetic_handwriting as hand
from services.recognizer.locate import locate
from services.recognizer.pipeline import Reader
from services.recognizer.touching import Part, TouchingSettings, parted
from tools.bench.pages import TALL, Look, page

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(CarefulClassifier(Bundle.load(Path(models.__file__).parent / "factory")))


def inks(text: str, seed: int) -> list[Pixels]:
    """Digits of the built-in hand, each cut to its ink."""
    drawn = []
    for digit in hand.write(text, seed):
        ink = np.zeros((TALL, TALL), np.uint8)
        for stroke in digit:
            path = np.rint((np.array(stroke) * (TALL - 12) + 6) * 16).astype(np.int32)
            cv2.polylines(ink, [path], False, (255,), 9, cv2.LINE_AA, 4)
        x, y, w, h = cv2.boundingRect((ink > 100).astype(np.uint8))
        drawn.append(ink[y : y + h, x : x + w])
    return drawn


def cut(picture: Pixels, settings: TouchingSettings | None = None) -> list[Part]:
    candidates, gate = locate(picture), Gate()
    scores = gate.score(np.stack([normalise(candidate.ink) for candidate in candidates]))
    return parted(candidates, scores, gate.score, settings or TouchingSettings())


def test_digits_that_touch_are_read_one_by_one(reader: Reader) -> None:
    right = parts = 0
    for seed in range(8):
        picture = page([inks("2603", seed)], Look(gap=(-0.03, 0.0), tall=60), np.random.default_rng(seed))
        parts += len(cut(picture))
        right += [line.text for line in reader.read(picture)] == ["2603"]
    assert parts >= 12
    assert right >= 3


def test_the_parts_lie_side_by_side_within_their_ink() -> None:
    picture = page([inks("20", 3)], Look(gap=(-0.03, -0.02), tall=80), np.random.default_rng(3))
    (whole,) = locate(picture)
    parts = sorted(part.box for part, _, _ in cut(picture))
    x, y, w, h = whole.box
    assert len(parts) == 2
    assert parts[0][0] + parts[0][2] <= parts[1][0] + 0.2 * h
    for px, py, pw, ph in parts:
        assert min(px - x, py - y) >= -2
        assert max(px + pw - x - w, py + ph - y - h) <= 2


def test_a_digit_that_is_surely_one_is_left_whole() -> None:
    for seed in range(6):
        assert cut(page([inks("0825", seed)], Look(gap=(0.4, 0.5), tall=60), np.random.default_rng(1))) == []


def test_so_many_pieces_are_cut_and_no_more() -> None:
    rows = [inks("26", seed) for seed in range(4)]
    picture = page(rows, Look(gap=(-0.03, -0.02), tall=50), np.random.default_rng(2))
    assert len(cut(picture, TouchingSettings(most=1))) <= 2
    assert cut(picture, TouchingSettings(most=0)) == []


def test_what_stands_between_digits_and_is_none_is_a_question_mark(reader: Reader) -> None:
    star = np.zeros((TALL, 70), np.uint8)
    for angle in np.deg2rad([0, 45, 90, 135]):
        reach = 30 * np.array([np.cos(angle), np.sin(angle)])
        ends = [np.rint((35, TALL / 2) + side * reach).astype(int).tolist() for side in (-1, 1)]
        cv2.line(star, ends[0], ends[1], (255,), 9)
    star = star[TALL // 2 - 36 : TALL // 2 + 36]
    two, six, zero, three = inks("2603", 2)
    found = reader.read(page([[two, six, star, zero, three]], Look(tall=60), np.random.default_rng(4)))
    assert [line.text for line in found] == ["26?03"]
