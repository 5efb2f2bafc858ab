"""`smartcar evaluate photos FOLDER`: what is counted of labelled photos, and the picture of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.ink.strokes import render
from models.ink.synthetic_handwriting import into_line, write
from tools.evaluate.comparison import compare
from tools.evaluate.photos import alignment, labelled
from tools.terminal.problems import Problem

SIZE = (480, 240)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos of one code: labelled rightly, labelled otherwise, and of nothing."""
    ink = np.zeros(SIZE[::-1], np.uint8)
    for digit in into_line(write("31742", seed=4), x=60, y=80, height=70):
        ink |= render(digit, SIZE, 3)
    card = cv2.GaussianBlur(255 - ink // 2, (3, 3), 0)
    (tmp_path / "photos").mkdir()
    for name, pixels in (("a.png", card), ("b.png", card), ("c.png", np.full_like(card, 230))):
        cv2.imwrite(str(tmp_path / "photos" / name), pixels)
    labels = {"a.png": {"lines": ["31742"]}, "b.png": {"lines": ["3174"]}, "c.png": {"lines": ["12", "3"]}}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path


def evaluate(*sets: str, mistakes: Path | None = None) -> int:
    return compare(
        None,
        list(sets),
        data=None,
        against=[],
        preparation=None,
        with_peers=False,
        peer_digits=5,
        mistakes=mistakes,
        bundle=None,
        json=True,
    )


def test_photos_lines_and_digits_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("photos", str(folder)) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted.pop("milliseconds") > 0
    assert counted.pop("name").startswith("digits ")
    assert counted == {
        "photos": 3,
        "exact": 1,
        "wrong_without_doubt": 1,
        "nothing_read": 1,
        "lines": 4,
        "lines_right": 1,
        "digits": 12,
        "digits_missed": 3,
        "digits_invented": 1,
        "digits_misread": 0,
        "digits_refused": 0,
    }


def test_mistakes_are_drawn_two_of_three_photos(folder: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "mistakes.png"
    evaluate("photos", str(folder), mistakes=sheet)
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    tiles = [drawn[:240, left : left + 240] for left in range(0, drawn.shape[1], 240)]
    assert [bool((tile < 200).any() or (tile == 230).any()) for tile in tiles] == [True, True] + [False] * 4


@pytest.mark.parametrize(
    ("wanted", "said", "counted"),
    [
        ("02468", "0248", {"missed": 1}),
        ("02468", "024?8", {"refused": 1}),
        ("02468", "024168", {"invented": 1}),
        ("02468", "02469", {"misread": 1}),
        ("8", "", {"missed": 1}),
        ("", "17", {"invented": 2}),
        ("12345", "12345", {}),
    ],
)
def test_digits_are_aligned_with_the_fewest_mistakes(wanted: str, said: str, counted: dict[str, int]) -> None:
    assert alignment(wanted, said) == counted


@pytest.mark.parametrize("content", ["{", "[]", '{"a.png": {}}', '{"a.png": {"lines": 5}}'])
def test_labels_that_say_nothing_are_refused_with_an_example(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(Problem, match=r"is to name each photo and its lines"):
        labelled(tmp_path)


def test_a_folder_without_labels_and_a_photo_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"labels\.json can't be read: No such file"):
        evaluate("photos", str(tmp_path))
    (tmp_path / "labels.json").write_text('{"gone.png": {"lines": ["1"]}}')
    with pytest.raises(Problem, match=r"gone\.png can't be opened: No such file"):
        evaluate("photos", str(tmp_path))
