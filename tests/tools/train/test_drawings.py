"""Drawings saved from the pad as training digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from messages.pad import inside
from tools.train.data.datasets import DataError
from tools.train.data.drawings import plainly, read


def drawing(identifier: str, boxes: tuple[int, ...], **more: object) -> str:
    """A line of `pad save`: one upright stroke in each of these boxes, from 0."""
    strokes = [[[inside(box).x + 50, 70], [inside(box).x + 50, 130]] for box in boxes]
    return json.dumps({"id": identifier, "strokes": strokes, **more})


def test_what_was_drawn_is_the_id_or_said_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(drawing("1-7", (0, 2)) + "\n\n" + drawing("2026-11-24", (4,), digits="----3") + "\n")
    digits = read(path)
    assert [digit.label for digit in digits] == [1, 7, 3]
    assert {digit.writer for digit in digits} == {0}
    assert digits[1].strokes[0].tolist() == [[261.0, 70.0], [261.0, 130.0]]


def test_the_course_gets_each_box_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(drawing("-1", (1,)))
    pictures = plainly(read(path))
    assert pictures.images.shape == (1, 28, 28)
    columns = pictures.images[0].max(axis=0)
    assert columns[14] > 200, "the stroke is in the middle of its box, not of the canvas"
    assert not columns[:10].any()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (drawing("2026-11-24", (0,)), "doesn't say which digits"),
        (drawing("12", (0,)), "names digits in boxes 1, 2, but it was drawn in boxes 1"),
        ('{"id": "1", "strokes": [[[900, 1]]]}', "outside the canvas"),
        ("{", "line 1"),
    ],
)
def test_a_line_that_says_too_little_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=problem):
        read(path)
