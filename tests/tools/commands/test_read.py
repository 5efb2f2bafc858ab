"""`smartcar read`: image files in, one JSON object a line out, without a running car."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.ink.strokes import render
from models.ink.synthetic_handwriting import into_line, write
from tests.tools.car import objects, smartcar

CODES = ["31742", "68053"]
SIZE = (480, 320)


@pytest.fixture(scope="module")
def sheet() -> NDArray[np.uint8]:
    """Two codes, one below the other, written with a dark pen on paper; BGR."""
    ink = np.zeros(SIZE[::-1], np.uint8)
    for row, code in enumerate(CODES):
        digits = into_line(write(code, seed=7), x=60, y=60 + 130 * row, height=70)
        ink |= render([stroke for digit in digits for stroke in digit], SIZE, 3)
    paper = np.full((*SIZE[::-1], 3), (215, 228, 232), np.uint8)
    paper[ink > 0] = (90, 45, 40)
    return cv2.GaussianBlur(paper, (3, 3), 0).astype(np.uint8)


def save(pixels: NDArray[np.uint8], path: Path) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


def test_lines_come_from_top_to_bottom_with_confidence_and_box(
    runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]
) -> None:
    path = save(sheet, tmp_path / "sheet.png")
    answer = smartcar(runtime, "read", str(path), "--json")
    assert answer.returncode == 0, answer.stderr
    (row,) = objects(answer.stdout)
    assert list(row) == ["path", "readings"]
    assert row["path"] == str(path)
    assert [reading["digits"] for reading in row["readings"]] == CODES
    for number, reading in enumerate(row["readings"]):
        assert list(reading) == ["digits", "confidence", "box"]
        assert 0 < reading["confidence"] <= 1
        middle = reading["box"]["y"] + reading["box"]["height"] / 2
        assert abs(middle - (95 + 130 * number)) < 20


def test_each_file_gets_its_line_in_the_order_given(
    runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]
) -> None:
    blank = save(np.full_like(sheet, 220), tmp_path / "blank.jpg")
    lower = save(sheet[160:], tmp_path / "lower half.png")
    rows = objects(smartcar(runtime, "read", str(lower), str(blank), "--json").stdout)
    assert [row["path"] for row in rows] == [str(lower), str(blank)]
    assert [reading["digits"] for reading in rows[0]["readings"]] == CODES[1:]
    assert rows[1]["readings"] == []


def test_what_can_not_be_read_is_said_and_the_others_are_read(
    runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]
) -> None:
    good = save(sheet, tmp_path / "good.png")
    text, empty, cut = tmp_path / "text.jpg", tmp_path / "empty.png", tmp_path / "cut.png"
    text.write_text("no picture")
    empty.touch()
    cut.write_bytes(good.read_bytes()[:60])
    folder = tmp_path / "no photos"
    folder.mkdir()
    bad = [text, empty, cut, tmp_path / "missing.jpg", folder]
    answer = smartcar(runtime, "read", *map(str, [*bad, good]), "--json")
    assert answer.returncode == 1
    assert [row["path"] for row in objects(answer.stdout)] == [str(good)]
    errors = objects(answer.stderr)
    assert [row["path"] for row in errors] == list(map(str, bad))
    assert "No such file" in errors[3]["error"]
    assert "holds no photo" in errors[4]["error"]


def test_a_folder_stands_for_its_photos(runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]) -> None:
    photos = [save(sheet, tmp_path / name) for name in ("b.png", "a.JPG")]
    (tmp_path / "notes.txt").write_text("no picture")
    rows = objects(smartcar(runtime, "read", str(tmp_path), "--json").stdout)
    assert [row["path"] for row in rows] == [str(photos[1]), str(photos[0])]


def test_a_name_in_another_encoding_is_read_and_shown(
    runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]
) -> None:
    path = save(sheet, tmp_path / "sheet.png")
    path = path.rename(tmp_path / os.fsdecode(b"caf\xe9 \xb9 \x1b[31m.png"))
    (row,) = objects(smartcar(runtime, "read", str(path), "--json").stdout)
    assert row["path"] == str(path)
    assert [reading["digits"] for reading in row["readings"]] == CODES
    line = smartcar(runtime, "read", str(tmp_path)).stdout
    assert "\x1b" not in line
    assert CODES[0] in line


def test_ink_on_a_transparent_ground_is_read(runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]) -> None:
    ink = np.clip(2 * (220 - cv2.cvtColor(sheet, cv2.COLOR_BGR2GRAY).astype(int)), 0, 255).astype(np.uint8)
    drawing = np.dstack([np.zeros((*ink.shape, 3), np.uint8), ink])
    (row,) = objects(smartcar(runtime, "read", str(save(drawing, tmp_path / "a.png")), "--json").stdout)
    on_white = save(np.repeat(255 - ink[..., None], 3, axis=2), tmp_path / "b.png")
    (same,) = objects(smartcar(runtime, "read", str(on_white), "--json").stdout)
    assert row["readings"] == same["readings"] != []


def test_a_heic_picture_in_a_folder_is_named_and_the_others_are_read(
    runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]
) -> None:
    good = save(sheet, tmp_path / "b.png")
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    answer = smartcar(runtime, "read", str(tmp_path), "--json")
    assert answer.returncode == 1
    assert [row["path"] for row in objects(answer.stdout)] == [str(good)]
    (error,) = objects(answer.stderr)
    assert "HEIC" in error["error"]
    assert "JPEG" in error["error"]


def test_for_people_it_is_a_line_a_file(runtime: Path, tmp_path: Path, sheet: NDArray[np.uint8]) -> None:
    path = save(sheet, tmp_path / "sheet.png")
    assert smartcar(runtime, "read", str(path)).stdout.startswith(f"{path}: {CODES[0]} (")


def test_a_model_that_can_not_be_used_is_one_sentence(runtime: Path, tmp_path: Path) -> None:
    answer = smartcar(runtime, "read", "any.png", "--model", str(tmp_path / "none"))
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert "none" in answer.stderr
