"""Digits that stand in one line are read as one code, lines from top to bottom."""

from __future__ import annotations

import math
import random

import pytest

from services.recognizer.reading import Line, ReadDigit, lines_of


def row(
    text: str, x: float, y: float, height: float = 40, gap: float = 14, tilt: float = 0
) -> list[ReadDigit]:
    """A line of digits from (x, y) on, climbing or falling by `tilt` degrees."""
    digits = []
    for label in text:
        width = height * (0.25 if label == "1" else 0.6)
        digits.append(ReadDigit(label, 0.9, "0", 0.05, (round(x), round(y), round(width), round(height))))
        step = width + gap
        x, y = x + step * math.cos(math.radians(tilt)), y + step * math.sin(math.radians(tilt))
    return digits


def texts(digits: list[ReadDigit]) -> list[str]:
    shuffled = random.Random(4).sample(digits, len(digits))
    rows = lines_of([digit.box for digit in shuffled])
    return [Line(tuple(shuffled[index] for index in row)).text for row in rows]


def test_one_line_is_read_from_left_to_right() -> None:
    assert texts(row("06234", 100, 100)) == ["06234"]


@pytest.mark.parametrize("tilt", [-25, -15, -5, 5, 15, 25])
def test_a_tilted_line_is_one_line(tilt: float) -> None:
    assert texts(row("9017423", 100, 240, tilt=tilt)) == ["9017423"]


def test_lines_are_read_from_top_to_bottom_then_from_left_to_right() -> None:
    digits = row("0755", 30, 300) + row("12", 30, 100) + row("345", 300, 105) + row("52306", 40, 200)
    assert texts(digits) == ["12", "345", "52306", "0755"]


@pytest.mark.parametrize("tilt", [-12, 12])
def test_two_tilted_lines_do_not_mix(tilt: float) -> None:
    digits = row("61937", 60, 120, tilt=tilt) + row("85204", 60, 195, tilt=tilt)
    assert texts(digits) == ["61937", "85204"]


def test_digits_of_uneven_height_and_level_are_one_line() -> None:
    digits = [
        ReadDigit(label, 0.9, "0", 0.05, (60 + 34 * place, 100 + low, 24, height))
        for place, (label, low, height) in enumerate(
            [("6", -8, 44), ("2", 4, 30), ("9", 6, 50), ("1", 0, 38)]
        )
    ]
    assert texts(digits) == ["6291"]


def test_a_wide_gap_parts_two_codes() -> None:
    assert texts(row("123", 20, 100) + row("456", 320, 100)) == ["123", "456"]


def test_widely_and_evenly_spaced_digits_are_one_code() -> None:
    assert texts(row("1247673", 20, 100, gap=52)) == ["1247673"]


def test_three_digits_far_apart_are_one_line_and_two_are_not() -> None:
    assert texts(row("345", 20, 100, gap=140)) == ["345"]
    assert texts(row("34", 20, 100, gap=110)) == ["3", "4"]
    assert texts(row("34", 20, 100, gap=70)) == ["34"]


def test_a_small_figure_beside_a_large_one_is_not_its_neighbour() -> None:
    assert sorted(texts(row("7", 100, 100, height=90) + row("3", 170, 130, height=20))) == ["3", "7"]


def test_no_digits_are_no_lines() -> None:
    assert lines_of([]) == []


def test_a_line_knows_its_text_its_box_and_how_sure_all_of_it_is() -> None:
    line = Line(
        (
            ReadDigit("4", 0.9, "9", 0.05, (10, 20, 30, 40)),
            ReadDigit("?", 0.5, "7", 0.4, (50, 10, 20, 45)),
        )
    )
    assert line.text == "4?"
    assert line.box == (10, 10, 60, 50)
    assert line.confidence == pytest.approx(0.45)
