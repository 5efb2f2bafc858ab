"""The pad's renderer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ink.strokes import draw, render

point = st.tuples(st.floats(-20, 120), st.floats(-20, 120))
inner_point = st.tuples(st.floats(15, 85), st.floats(15, 85))


@given(st.lists(inner_point, min_size=2, max_size=12), st.integers(1, 7))
def test_a_stroke_has_no_gaps(points: list[tuple[float, float]], brush: int) -> None:
    parts, _ = cv2.connectedComponents(render([points], (100, 100), brush))
    assert parts == 2, "the ground, and one piece of ink"


@given(inner_point, st.integers(1, 7))
def test_one_point_is_a_disc_of_the_brush(at: tuple[float, float], brush: int) -> None:
    ink = render([[at]], (100, 100), brush)
    rows, columns = np.nonzero(ink)
    distance = np.hypot(columns - at[0], rows - at[1])
    assert distance.max() <= brush + 1
    assert 0.6 < len(rows) / (np.pi * (brush + 0.5) ** 2) < 1.4


@given(st.lists(st.lists(point, min_size=1, max_size=6), max_size=4))
@settings(max_examples=50)
def test_drawing_stroke_by_stroke_gives_the_same_canvas(strokes: list[list[tuple[float, float]]]) -> None:
    canvas = np.zeros((90, 110), np.uint8)
    for stroke in strokes:
        draw(canvas, stroke, 4)
    assert np.array_equal(canvas, render(strokes, (110, 90), 4))
    assert set(np.unique(canvas)) <= {0, 255}


def test_nothing_drawn_is_a_blank_canvas() -> None:
    assert not render([], (30, 20), 4).any()
    assert not render([[]], (30, 20), 4).any()
    assert render([], (30, 20), 4).shape == (20, 30)


def test_what_lies_outside_is_cut_off() -> None:
    assert not render([[(-50.0, 10.0), (-40.0, 12.0)]], (30, 20), 4).any()
    across = render([[(-1e9, 10.0), (1e9, 10.0)]], (30, 20), 4)
    assert across[10].all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_point_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        render([[(1.0, bad)]], (30, 20), 4)


@pytest.mark.parametrize(("size", "brush"), [((0, 5), 4), ((5, 5), 0)])
def test_a_canvas_or_brush_of_nothing_is_refused(size: tuple[int, int], brush: int) -> None:
    with pytest.raises(ValueError, match="brush of"):
        render([], size, brush)
