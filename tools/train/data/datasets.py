"""Read the data sets of real handwriting, each with its own split into training, validation and test.

Splits are by writer wherever the set says who wrote. What is a test set is never trained or selected on.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.terminal.problems import Problem

Pixels = NDArray[np.uint8]
PenStroke = NDArray[np.float64]
"""(n, 2) points x, y with y downwards, in the tablet's own units."""
Part = Literal["train", "validation", "test"]

MNIST_HELD_OUT = 5_000
"""The last so many digits of MNIST's training part are validation; a twelfth of a part of it."""
_PEN_WRITERS: dict[Part, range] = {
    "train": range(1, 21),
    "validation": range(21, 26),
    "test": range(26, 31),
}
_UNIPEN_CONTRIBUTORS: dict[Part, tuple[str, ...]] = {
    "train": ("syn", "apb", "app", "val", "ced", "gmd"),
    "validation": ("apa",),
    "test": ("imp", "aga"),
}
"""A contributor is a school, a tablet and a way to be asked: whole ones are held out."""
_UNIPEN_MISLABELLED = frozenset(
    (1637, 1694, 3507, 4266, 4436, 4438, 5300, 8359, 8417, 8523, 10547, 11819, 11959, 12056, 12123, 12240)
)
"""Places in the file of digits that a person reads otherwise than they are labelled, or not at all."""
_UNIPEN_SEVERAL = frozenset((11481, 11508, 11510, 11512, 11514, 11517, 11519, 11523, 11530, 11531, 11958))
"""Places in the file where a digit is written more than once."""
_SUDOKU_TUNING_CELLS = 904
"""The first five puzzles; the sixth lies on both sides of the half, so neither part may use it to tune."""
_SUDOKU_TEST_FROM = 1_072


class DataError(Problem):
    """A data set that is missing or not what it should be; the text says which file and what to do."""


@dataclass(frozen=True)
class Pictures:
    """Digits as pictures: ink bright on black, as the set has them, not yet normalised."""

    images: Pixels
    """(n, height, width)."""
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PenDigit:
    """One digit as it was written with a pen."""

    strokes: tuple[PenStroke, ...]
    label: int
    writer: int


def mnist(folder: Path, part: Part) -> Pictures:
    """MNIST (LeCun, Cortes, Burges) from its gzipped IDX files; images (n, 28, 28)."""
    prefix = "t10k" if part == "test" else "train"
    images = _idx(folder / "mnist" / f"{prefix}-images-idx3-ubyte.gz", 3)
    labels = _idx(folder / "mnist" / f"{prefix}-labels-idx1-ubyte.gz", 1).astype(np.int64)
    if len(images) != len(labels):
        raise DataError(f"MNIST in {folder} has {len(images)} images but {len(labels)} labels.")
    held_out = min(MNIST_HELD_OUT, len(images) // 12)  # of a smaller set, as large a part as of the whole
    trained_on = len(images) - held_out
    if part == "train":
        return Pictures(images[:trained_on], labels[:trained_on])
    if part == "validation":
        return Pictures(images[trained_on:], labels[trained_on:])
    return Pictures(images, labels)


def pendigits(folder: Path, part: Part) -> list[PenDigit]:
    """UCI pen-based digits (Alpaydin, Alimoglu) as original strokes, split by writer, in the file's order."""
    path = folder / "pendigits_orig" / "pendigits-orig.tra"
    wanted = _PEN_WRITERS[part]
    return [digit for digit in _unipen(path) if digit.writer in wanted]


def unipen(folder: Path, part: Part) -> list[PenDigit]:
    """UNIPEN, category 1a (Guyon et al., 1994): digits of many schools and tablets, split by contributor.

    Of the training part, what is mislabelled or written more than once is left out; `writer` counts the
    writers of the whole file. Raises DataError.
    """
    path = _present(folder / "unipen" / "unipen_1a_digits.json.gz")
    try:
        entries = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}.") from None
    writers: dict[tuple[str, str], int] = {}
    digits = []
    for place, entry in enumerate(entries):
        writer = writers.setdefault((entry["contributor"], entry["writer"]), len(writers))
        if entry["contributor"] not in _UNIPEN_CONTRIBUTORS[part]:
            continue
        if part == "train" and place in _UNIPEN_MISLABELLED | _UNIPEN_SEVERAL:
            continue
        strokes = tuple(np.array(stroke, np.float64) * (1, -1) for stroke in entry["strokes"] if stroke)
        if strokes:
            digits.append(PenDigit(strokes, int(entry["label"]), writer))
    return digits


def bhmsds(folder: Path) -> Pictures:
    """Digits of BHMSDS, cut from photographed sheets: training only; images (15000, 28, 28).

    They fill their box in both directions, so that their aspect is lost.
    """
    with np.load(_present(folder / "bhmsds" / "bhmsds_digits.npz"), allow_pickle=False) as arrays:
        return Pictures(255 - arrays["X"], arrays["y"].astype(np.int64))


def semeion(folder: Path) -> Pictures:
    """UCI Semeion (Tattile): training only; images (1593, 16, 16), 0 or 255."""
    values = np.array(_present(folder / "semeion" / "semeion.data").read_text("ascii").split(), dtype="U10")
    # Records are 256 pixels and the class one-hot, the latter also once more as a word or as ten values.
    rows, labels, at = [], [], 0
    while at + 266 <= len(values):
        pixels, at = values[at : at + 256], at + 256
        if len(values[at]) == 10:
            one_hot, at = list(values[at]), at + 1
        else:
            one_hot, at = values[at : at + 10].tolist(), at + 10
        if at < len(values) and len(values[at]) == 10:
            at += 1
        elif values[at : at + 10].tolist() == one_hot and len(values) - at >= 10:
            at += 10
        rows.append(pixels.astype(np.float64) > 0)
        labels.append([float(value) for value in one_hot].index(1.0))
    images = np.array(rows, np.uint8).reshape(-1, 16, 16) * np.uint8(255)
    return Pictures(images, np.array(labels, np.int64))


def optdigits(folder: Path) -> Pictures:
    """UCI optical digits (Alpaydin, Kaynak) as original bitmaps: test only; (1934, 32, 32), 0 or 255."""
    lines = _present(folder / "optdigits_orig" / "optdigits-orig.tra").read_text("ascii").split("\n")
    images, labels, rows = [], [], []
    for line in lines:
        text = line.strip()
        if re.fullmatch(r"[01]{32}", text):
            rows.append([character == "1" for character in text])
        elif len(rows) == 32 and re.fullmatch(r"\d", text):
            images.append(rows)
            labels.append(int(text))
            rows = []
    return Pictures(np.array(images, np.uint8) * np.uint8(255), np.array(labels, np.int64))


def sudoku_cells(folder: Path, part: Literal["validation", "test"]) -> Pictures:
    """Photographed Sudoku cells with pencilled digits 1 to 9, one writer; (n, 64, 64, 3) BGR photos."""
    path = _present(folder / "sudoku_photos" / "handwritten_cells_val.npz")
    chosen = slice(_SUDOKU_TUNING_CELLS) if part == "validation" else slice(_SUDOKU_TEST_FROM, None)
    with np.load(path, allow_pickle=False) as arrays:
        return Pictures(arrays["X"][chosen][..., ::-1].copy(), arrays["y"][chosen].astype(np.int64))


@dataclass(frozen=True)
class Sheet:
    """A photographed sheet of handwritten digits, as it was taken: it may lie on its side."""

    photo: Pixels
    """(height, width, 3), BGR."""
    lines: tuple[str, ...]
    """From top to bottom, once the sheet is upright."""


def sheets(folder: Path) -> list[Sheet]:
    """The photographed sheets: for tuning the camera path, not for judging it."""
    labels = json.loads(_present(folder / "sheets" / "labels.json").read_text())
    found = []
    for name, label in sorted(labels.items()):
        photo = cv2.imread(str(_present(folder / "sheets" / name)), cv2.IMREAD_COLOR)
        if photo is None:
            raise DataError(f"{folder / 'sheets' / name} is no picture that can be read.")
        found.append(Sheet(np.asarray(photo, np.uint8), tuple(label["lines"])))
    return found


def _present(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing: give the folder that holds the data sets.")
    return path


def _idx(path: Path, dimensions: int) -> Pixels:
    """An array of bytes in the IDX format of MNIST's page."""
    try:
        content = gzip.decompress(_present(path).read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"{path} can't be unpacked: {error}.") from None
    if content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{path} is no IDX file of bytes in {dimensions} dimensions.")
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != np.prod(shape):
        raise DataError(f"{path} is cut off: its header says {shape}.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _unipen(path: Path) -> list[PenDigit]:
    """Digits of a UNIPEN file: .SEGMENT names the label, .COMMENT the writer, .PEN_DOWN begins a stroke."""
    digits: list[PenDigit] = []
    label, writer, strokes = -1, -1, list[list[tuple[float, float]]]()
    pen_is_down = False

    def close() -> None:
        if label >= 0 and any(strokes):
            arrays = tuple(np.array(stroke) for stroke in strokes if stroke)
            digits.append(PenDigit(arrays, label, writer))

    for line in _present(path).read_text("latin-1").split("\n"):
        words = line.split()
        if not words:
            continue
        if words[0] == ".SEGMENT":
            close()
            label, writer, strokes, pen_is_down = int(words[-1].strip('"')), -1, [], False
        elif words[0] == ".COMMENT" and writer < 0 <= label:
            writer = int(words[2])
        elif words[0] == ".PEN_DOWN":
            strokes.append([])
            pen_is_down = True
        elif words[0] == ".PEN_UP":
            pen_is_down = False
        elif pen_is_down and len(words) == 2 and not words[0].startswith("."):
            strokes[-1].append((float(words[0]), -float(words[1])))
    close()
    return digits
