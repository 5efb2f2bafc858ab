"""The hand writes natural digits, the same ones for the same seed."""

import itertools

import numpy as np
import pytest

from models.ink import synthetic_handwriting as hand

ALL_DIGITS = "0123456789"


def ink(strokes: list[hand.Stroke]) -> np.ndarray:
    return np.vstack([np.array(stroke) for stroke in strokes])


def test_each_digit_lies_in_the_unit_box_and_fills_most_of_its_height() -> None:
    for seed in range(60):
        for strokes in hand.write(ALL_DIGITS, seed):
            points = ink(strokes)
            assert points.min() >= 0
            assert points.max() <= 1
            assert 0.5 < np.ptp(points[:, 1]) <= 1


def test_the_same_seed_writes_the_same_strokes_and_another_one_others() -> None:
    assert hand.write("06234", 7) == hand.write("06234", 7)
    assert hand.write("06234", 7) != hand.write("06234", 8)


def test_a_digit_written_twice_differs_a_little_but_keeps_its_writer() -> None:
    first, second = hand.write("33", 3)
    assert first != second
    writer = hand.Writer.from_seed(3)
    upright = hand.Writer(**{**vars(writer), "slant": 0.0})
    leaning = hand.Writer(**{**vars(writer), "slant": 0.45})

    def lean(strokes: list[hand.Stroke]) -> float:
        points = ink(strokes)
        return float(np.polyfit(points[:, 1], points[:, 0], 1)[0])

    straight = np.mean([lean(d) for d in hand.write("1" * 10, 3, writer=upright)])
    slanted = np.mean([lean(d) for d in hand.write("1" * 10, 3, writer=leaning)])
    assert slanted < straight - 0.25


def test_writers_use_different_shapes_of_a_digit() -> None:
    strokes_of_seven = {len(hand.write("7", seed)[0]) for seed in range(40)}
    assert strokes_of_seven == {1, 2}, "some writers bar their seven, some do not"


def test_text_that_is_not_digits_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'O'"):
        hand.write("1O2", 1)


def test_digits_are_placed_into_boxes_and_lines_of_pixels() -> None:
    (three,) = hand.write("3", 5)
    points = ink(hand.into_box(three, 110, 50, 100, 100))
    assert points.min(axis=0).tolist() >= [110, 50]
    assert (points.max(axis=0) <= [210, 150]).all()

    line = hand.into_line(hand.write("06234", 5), 10, 20, 80, gap=0.2)
    extents = [(ink(digit)[:, 0].min(), ink(digit)[:, 0].max()) for digit in line]
    assert extents[0][0] == pytest.approx(10)
    for (_, right), (left, _) in itertools.pairwise(extents):
        assert left - right == pytest.approx(0.2 * 80)
