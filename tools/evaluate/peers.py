"""Text recognisers of others, judged on the same digits: Tesseract and RapidOCR, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.evaluate.scores import SetScore
from tools.evaluate.test_sets import DIGIT_SETS, PICTURE_SETS, spread

Pixels = NDArray[np.uint8]

_LETTER_HEIGHT = 48
"""Digits are handed over at about the size of print in a scan, in pixels."""
_MARGIN = 24
_CELL = 100
"""Pictures up to this side are read as one line, which favours RapidOCR."""


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


def scores(peer: Peer, data: Path, sets: tuple[str, ...], limit: int) -> list[SetScore]:
    """The peer's scores on `limit` digits or cells of each set, evenly spread.

    `sets` are names of `tools.evaluate.test_sets`. Raises DataError.
    """
    found = []
    for name in sets:
        if name in DIGIT_SETS:
            title, inks, labels = DIGIT_SETS[name](data)
            chosen = spread(len(labels), limit)
            right = [peer.read_digit(on_paper(inks[index])) == str(labels[index]) for index in chosen]
            found.append(SetScore.of(title, np.array(right)))
        else:
            read = partial(_any_way_up, peer.read_lines) if name == "sheets" else peer.read_lines
            found += PICTURE_SETS[name](read, data, limit)
    return found


def five_ms(peer: Peer, rounds: int = 5) -> float:
    """Milliseconds, the median, to read five digits one after another."""
    from tools.evaluate.candidates import five_drawn

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

    told = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=False).stdout
    return Peer(
        f"Tesseract {told.split()[1]}",
        lambda paper: "".join(read(paper, 10)),  # one character
        lambda photo: read(photo, 6),  # a block of text
    )


def _rapidocr() -> Peer | Absent:
    if find_spec("rapidocr") is None or find_spec("onnxruntime") is None:
        return Absent("RapidOCR", "pip install rapidocr onnxruntime")
    engine = import_module("rapidocr").RapidOCR(params={"Global.log_level": "error"})

    def read_digit(paper: Pixels) -> str:
        found = engine(cv2.cvtColor(paper, cv2.COLOR_GRAY2BGR), use_det=False, use_cls=False, use_rec=True)
        return _digits("".join(found.txts or ()))

    def read_lines(photo: Pixels) -> list[str]:
        detect = max(photo.shape) > _CELL  # it keeps what it was asked last, so that is said each time
        found = engine(photo, use_det=detect, use_cls=detect, use_rec=True)
        boxes = getattr(found, "boxes", None)  # a small picture is taken for one line and has none
        if boxes is None:
            return [_digits("".join(found.txts or ()))]
        return _as_lines(boxes, found.txts)

    return Peer(f"RapidOCR {version('rapidocr')}", read_digit, read_lines)


def _as_lines(boxes: Any, texts: Sequence[str]) -> list[str]:
    """Texts whose boxes (n, 4 corners, 2) lie beside one another, joined from left to right."""
    lines: list[list[tuple[float, float, str]]] = []
    for corners, text in sorted(zip(boxes, texts, strict=True), key=lambda each: float(each[0][:, 1].mean())):
        left, middle = float(corners[:, 0].min()), float(corners[:, 1].mean())
        half = float(np.ptp(corners[:, 1])) / 2
        if lines and middle - lines[-1][-1][1] < half:
            lines[-1].append((left, middle, text))
        else:
            lines.append([(left, middle, text)])
    joined = (_digits("".join(text for _, _, text in sorted(line))) for line in lines)
    return [line for line in joined if line]


def _any_way_up(read: Callable[[Pixels], list[str]], photo: Pixels) -> list[str]:
    """The lines read in a photo that may lie on its side, whichever way it is turned, in its favour."""
    return [line for turns in (0, 1, 3) for line in read(np.ascontiguousarray(np.rot90(photo, turns)))]


def _digits(text: str) -> str:
    return "".join(character for character in text if character in "0123456789")
