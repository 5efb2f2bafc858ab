"""Text recognisers of others, judged on the same digits: Tesseract and RapidOCR, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.evaluate import DIGIT_SETS, lines, photos, spread
from tools.scores import Score

Pixels = NDArray[np.uint8]

_LETTER_HEIGHT = 48
"""Digits are handed over at about the size of print in a scan, in pixels."""
_MARGIN = 24


@dataclass(frozen=True)
class Peer:
    """Somebody else's recogniser."""

    name: str
    read_digit: Callable[[Pixels], str]
    """Dark on white (h, w), one character in it."""
    read_lines: Callable[[Pixels], list[str]]
    """A photo (h, w, 3) BGR."""


@dataclass(frozen=True)
class Absent:
    """A recogniser that is not installed, and how to install it."""

    name: str
    remedy: str


def find() -> list[Peer | Absent]:
    """Tesseract and RapidOCR, each ready to read or with the way to install it."""
    return [_tesseract(), _rapidocr()]


def scores(peer: Peer, data: Path, sets: tuple[str, ...], limit: int) -> list[Score]:
    """The peer's scores on sets of `tools.evaluate`, on `limit` digits or cells of each, evenly spread.

    Raises DataError.
    """
    found = []
    for name in sets:
        if name in DIGIT_SETS:
            title, inks, labels = DIGIT_SETS[name](data)
            chosen = spread(len(labels), limit)
            right = [peer.read_digit(on_paper(inks[index])) == str(labels[index]) for index in chosen]
            found.append(Score.of(title, np.array(right)))
        elif name == "photos":
            found.append(photos(peer.read_lines, data, limit))
        else:
            found.append(lines(peer.read_lines, data))
    return found


def five_ms(peer: Peer, rounds: int = 5) -> float:
    """Milliseconds, the median, to read five digits one after another."""
    from tools.candidates import five_drawn

    papers = [on_paper(ink) for ink in five_drawn()]
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        for paper in papers:
            peer.read_digit(paper)
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1000


def on_paper(ink: Pixels) -> Pixels:
    """Ink bright on black as dark on white paper, of the size of print, with a margin."""
    rows, columns = np.nonzero(ink > ink.max() // 8)
    if not len(rows):
        return np.full((_LETTER_HEIGHT, _LETTER_HEIGHT), 255, np.uint8)
    cut = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = _LETTER_HEIGHT / max(cut.shape)
    large = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.pad(255 - np.asarray(large, np.uint8), _MARGIN, constant_values=255)


def _tesseract() -> Peer | Absent:
    if shutil.which("tesseract") is None:
        return Absent("Tesseract", "apt install tesseract-ocr")

    def read(picture: Pixels, mode: int) -> list[str]:
        _, packed = cv2.imencode(".png", picture)
        command = ["tesseract", "-", "-", "--psm", str(mode), "-c", "tessedit_char_whitelist=0123456789"]
        run = subprocess.run(command, input=packed.tobytes(), capture_output=True, check=False)
        return [_digits(line) for line in run.stdout.decode(errors="replace").splitlines() if _digits(line)]

    version = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=False).stdout
    return Peer(
        f"Tesseract {version.split()[1]}",
        lambda paper: "".join(read(paper, 10)),  # one character
        lambda photo: read(photo, 6),  # a block of text
    )


def _rapidocr() -> Peer | Absent:
    if find_spec("rapidocr") is None or find_spec("onnxruntime") is None:
        return Absent("RapidOCR", "pip install rapidocr onnxruntime")
    import logging
    from importlib.metadata import version

    RapidOCR = import_module("rapidocr").RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    engine = RapidOCR()

    def read(picture: Pixels, **how: Any) -> list[str]:
        colour = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        found = engine(colour, **how)
        return [_digits(text) for text in found.txts or () if _digits(text)]

    one = partial(read, use_det=False, use_cls=False, use_rec=True)
    return Peer(f"RapidOCR {version('rapidocr')}", lambda paper: "".join(one(paper)), read)


def _digits(text: str) -> str:
    return "".join(character for character in text if character in "0123456789")
