"""Clearing a box: no ink stays in it, and none that was outside is lost."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from messages.pad import BOXES, HEIGHT, MAX_BRUSH, WIDTH, inside
from models.ink.strokes import render
from services.pad.cutting import column, cut

sixteenths = st.tuples(st.integers(0, WIDTH * 16 - 1), st.integers(0, HEIGHT * 16 - 1)).map(
    lambda place: (place[0] / 16, place[1] / 16)
)
strokes = st.lists(sixteenths, min_size=1, max_size=30)
boxes = st.integers(0, BOXES - 1)
brushes = st.integers(1, MAX_BRUSH)


@given(strokes, boxes, brushes)
def test_a_cleared_box_holds_no_ink(points: list[tuple[float, float]], index: int, brush: int) -> None:
    pieces = cut(points, *column(index, brush))
    left = [points] if pieces is None else pieces
    ink = render(left, (WIDTH, HEIGHT), brush)
    box = inside(index)
    assert not ink[box.y : box.y + box.height, box.x : box.x + box.width].any()


@given(strokes, boxes, brushes)
def test_what_is_well_outside_the_box_stays_as_it_was(
    points: list[tuple[float, float]], index: int, brush: int
) -> None:
    before = render([points], (WIDTH, HEIGHT), brush)
    left, right = column(index, brush)
    pieces = cut(points, left, right)
    after = render([points] if pieces is None else pieces, (WIDTH, HEIGHT), brush)
    aside = np.ones(WIDTH, bool)  # beyond what a stroke cut at the edge still colours
    aside[max(0, int(max(left, 0)) - 2 * brush) : int(min(right, WIDTH)) + 2 * brush] = False
    for one, other in ((before, after), (after, before)):
        broader = cv2.dilate(other, np.ones((3, 3), np.uint8))  # cut on a sixteenth: a pixel's play
        assert not (one > broader)[:, aside].any()


@given(strokes, boxes, brushes)
def test_a_stroke_that_does_not_come_near_is_left_whole(
    points: list[tuple[float, float]], index: int, brush: int
) -> None:
    left, right = column(index, brush)
    aside = [point for point in points if point[0] <= left]
    assert not aside or cut(aside, left, right) is None


def test_a_line_across_is_cut_in_two() -> None:
    assert cut([(5.0, 100.0), (515.0, 100.0)], *column(2, 4)) == [
        [(5.0, 100.0), (205.0, 100.0)],
        [(314.0, 100.0), (515.0, 100.0)],
    ]
