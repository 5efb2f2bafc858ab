"""The readers of the handwriting sets, and the walls between training, validation and test."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED
from tools.train.data.datasets import (
    DataError,
    bhmsds,
    mnist,
    optdigits,
    pendigits,
    semeion,
    sudoku_cells,
    unipen,
)

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data, the handwriting sets, is absent")

UNIPEN = """
.INCLUDE        dene.doc
.LEXICON "0" "1"
.SEGMENT DIGIT    0 ? "8"
.COMMENT 8 12  224
.PEN_DOWN
 267  333
 260  340
.PEN_UP
.DT 100
.PEN_DOWN
 100  200
.PEN_UP
.SEGMENT DIGIT    0 ? "1"
.COMMENT 1 22  5
.PEN_DOWN
 1  2
.PEN_UP
.SEGMENT DIGIT    0 ? "7"
.COMMENT 7 30  6
.PEN_DOWN
 3  4
.PEN_UP
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "pendigits_orig"
    folder.mkdir()
    (folder / "pendigits-orig.tra").write_text(UNIPEN)
    return tmp_path


def test_pen_strokes_with_y_downwards(data: Path) -> None:
    (digit,) = pendigits(data, "train")
    assert (digit.label, digit.writer) == (8, 12)
    assert [stroke.tolist() for stroke in digit.strokes] == [[[267, -333], [260, -340]], [[100, -200]]]


def test_a_writer_is_in_one_part_only(data: Path) -> None:
    assert [digit.writer for digit in pendigits(data, "validation")] == [22]
    assert [digit.writer for digit in pendigits(data, "test")] == [30]


def test_semeion_with_its_labels_twice_and_a_record_over_many_lines(tmp_path: Path) -> None:
    (tmp_path / "semeion").mkdir()
    seven, two = ["0"] * 256, ["1.0000"] * 256
    seven[17] = "1"
    rows = [seven[at : at + 16] for at in range(0, 256, 16)]
    text = "\n".join("\t".join(row) for row in rows)
    text += "\n" + "\t".join("0000000100") + "\t0000000100\n"
    text += " ".join([*two, *"0010000000", *"0010000000"]) + "\n"
    (tmp_path / "semeion" / "semeion.data").write_text(text)
    pictures = semeion(tmp_path)
    assert pictures.labels.tolist() == [7, 2]
    assert (pictures.images[0].sum(), pictures.images[0][1, 1], pictures.images[1].min()) == (255, 255, 255)


def test_optdigits_bitmaps_between_other_lines(tmp_path: Path) -> None:
    (tmp_path / "optdigits_orig").mkdir()
    bitmap = "\n".join(["0" * 31 + "1"] * 32)
    text = f"BU handwritten digit database\nentwidth = 32\n{bitmap}\n 5\n"
    (tmp_path / "optdigits_orig" / "optdigits-orig.tra").write_text(text)
    pictures = optdigits(tmp_path)
    assert pictures.labels.tolist() == [5]
    assert pictures.images[0, :, 31].tolist() == [255] * 32
    assert not pictures.images[0, :, :31].any()


def test_a_missing_set_names_its_file(tmp_path: Path) -> None:
    for read in (
        lambda: mnist(tmp_path, "train"),
        lambda: pendigits(tmp_path, "test"),
        lambda: bhmsds(tmp_path),
    ):
        with pytest.raises(DataError, match=r"is missing: give the folder"):
            read()


@pytest.mark.parametrize(
    "content",
    [b"junk", gzip.compress(b"\0\0\x08\x01\0\0\0\x05123"), gzip.compress(b"\0\0\x0d\x01\0\0\0\x00")],
    ids=["no gzip", "cut off", "floats"],
)
def test_a_damaged_idx_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mnist").mkdir()
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (tmp_path / "mnist" / name).write_bytes(content)
    with pytest.raises(DataError, match="t10k"):
        mnist(tmp_path, "test")


@needs_data
def test_the_sets_are_whole() -> None:
    assert [len(mnist(DATA, part)) for part in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    assert [len(pendigits(DATA, part)) for part in ("train", "validation", "test")] == [4_996, 1_250, 1_248]
    assert [len(unipen(DATA, part)) for part in ("train", "validation", "test")] == [11_560, 692, 662]
    assert (len(bhmsds(DATA)), len(semeion(DATA)), len(optdigits(DATA))) == (15_000, 1_593, 1_934)
    assert np.bincount(semeion(DATA).labels).min() == 155


@needs_data
def test_ink_is_bright_in_every_set() -> None:
    for pictures in (mnist(DATA, "test"), bhmsds(DATA), semeion(DATA), optdigits(DATA)):
        assert 0 < pictures.images[:200].mean() < 110


@needs_data
def test_no_photographed_digit_is_in_both_parts() -> None:
    tuning, test = sudoku_cells(DATA, "validation"), sudoku_cells(DATA, "test")
    assert (len(tuning), len(test)) == (904, 1_072)
    assert not {cell.tobytes() for cell in tuning.images} & {cell.tobytes() for cell in test.images}
