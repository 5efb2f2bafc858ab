"""Drawn pages on which the camera path is judged: single digits, rows by mixed pens, printed letters.

The digits are pen strokes of writers that nothing was trained on; the letters are set in matplotlib's
typefaces. The same seed draws the same pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ink.strokes import render
from tools.evaluate.scores import SetScore
from tools.train.data.datasets import DataError, PenDigit, pendigits

Pixels = NDArray[np.uint8]
Random = np.random.Generator
Reads = Callable[[Pixels], list[str]]
"""A picture (h, w, 3) BGR in, its lines of digits out."""

WIDTH, HEIGHT = 640, 480
SINGLES, ROWS, PRINTED = 200, 200, 60
"""How many pages are drawn: with one digit, with a row of five, with print."""
_SEED = 27
_FINE = 4
"""Strokes are drawn so many times larger, then shrunk, so that their edges are smooth."""
_TEXT = (
    "the quick brown fox jumps over a lazy dog while Sphinx of black quartz judge my vow Pack his box with "
    "five dozen LIQUOR JUGS How vexingly quick DAFT ZEBRAS JUMP Waltz bad nymph for QUICK JIGS Is Oslo Ill"
)
_WORDS = tuple(_TEXT.split())
_LETTERS = "DejaVuS*.ttf", "STIXGeneral*.ttf", "cm[brst][0-9]*.ttf", "cmss*.ttf", "cmtt*.ttf"


def alone(read: Reads, data: Path, count: int = SINGLES) -> list[SetScore]:
    """One digit on a white page, 16 to 400 pixels tall, thin to bold: right where it alone is read.

    Dark on light, and the same pages light on dark.
    """
    digits, rng = pendigits(data, "test"), np.random.default_rng([_SEED, 0])
    right: list[tuple[bool, bool]] = []
    for _ in range(count):
        digit = digits[rng.integers(len(digits))]
        tall = float(np.exp(rng.uniform(np.log(16), np.log(400))))
        ink = written(digit, tall, float(np.exp(rng.uniform(np.log(0.04), np.log(0.16)))) * tall)
        page = np.zeros((HEIGHT, WIDTH), np.uint8)
        _set(page, ink, *(rng.uniform(0.02, 0.98, 2) * np.subtract(page.shape, ink.shape)).astype(int))
        dark, light = (read(_bgr(each)) for each in (255 - page, page))
        right.append((dark == [str(digit.label)], light == [str(digit.label)]))
    names = "one digit alone on a clean page", "… light on dark"
    return [
        SetScore.of(name, np.array(each)) for name, each in zip(names, zip(*right, strict=True), strict=True)
    ]


def mixed(read: Reads, data: Path, count: int = ROWS) -> list[SetScore]:
    """Rows of five on a white page, each digit by another pen: right where exactly the row is read."""
    digits, rng = pendigits(data, "test"), np.random.default_rng([_SEED, 1])
    right = []
    for _ in range(count):
        row = [digits[index] for index in rng.integers(0, len(digits), 5)]
        tall = float(np.exp(rng.uniform(np.log(24), np.log(90))))
        page, x = np.zeros((HEIGHT, WIDTH), np.uint8), 12.0
        y = rng.uniform(10, HEIGHT - 1.4 * tall - 10)
        for digit in row:
            own = tall * rng.uniform(0.85, 1.15)
            ink = written(digit, own, float(np.exp(rng.uniform(np.log(0.04), np.log(0.16)))) * own)
            _set(
                page,
                (ink * rng.uniform(0.55, 1)).astype(np.uint8),
                int(y + rng.uniform(0, 0.15) * tall),
                int(x),
            )
            x += ink.shape[1] + rng.uniform(0.12, 0.45) * tall
        right.append(read(_bgr(255 - page)) == ["".join(str(each.label) for each in row)])
    return [SetScore.of("rows of five by mixed pens on a clean page", np.array(right))]


def printed(read: Reads, count: int = PRINTED) -> list[SetScore]:
    """Pages of printed words without digits: right is each letter that is not read as a digit.

    Raises DataError where matplotlib, whose typefaces are used, is not installed.
    """
    if not find_spec("matplotlib"):
        raise DataError("The typefaces come with matplotlib: pip install 'smartcar[test]'.")
    rng, letters, taken = np.random.default_rng([_SEED, 2]), 0, 0
    for _ in range(count):
        page, on_it = _print(rng)
        letters += on_it
        taken += sum(digit != "?" for line in read(_bgr(page)) for digit in line)
    return [SetScore.of("printed letters, not taken for digits", np.arange(letters) >= taken)]


def written(digit: PenDigit, tall: float, thick: float) -> Pixels:
    """The ink of a pen digit of a height, by a pen of a width, both in pixels: (h, w), bright on black."""
    points = np.vstack(digit.strokes)
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-3)
    brush = max(1, round(_FINE * max(thick, 1.2) / 2))
    scale = min(_FINE * tall - 2 * brush, 1.2 * _FINE * tall * size[1] / size[0]) / size[1]
    width, height = (np.ceil(size * scale).astype(int) + 2 * brush + 4).tolist()
    fine = render([(stroke - low) * scale + brush + 2 for stroke in digit.strokes], (width, height), brush)
    small = max(1, round(width / _FINE)), max(1, round(height / _FINE))
    return np.asarray(cv2.resize(fine, small, interpolation=cv2.INTER_AREA), np.uint8)


def _bgr(page: Pixels) -> Pixels:
    return np.repeat(page[..., None], 3, axis=2)


def _set(page: Pixels, ink: Pixels, y: int, x: int) -> None:
    part = page[y : y + ink.shape[0], x : x + ink.shape[1]]
    np.maximum(part, ink[: part.shape[0], : part.shape[1]], out=part)


def _print(rng: Random) -> tuple[Pixels, int]:
    """A page of words, dark on light, and how many letters it shows."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (WIDTH, HEIGHT), int(rng.integers(200, 256)))
    draw, size = ImageDraw.Draw(page), int(np.exp(rng.uniform(np.log(14), np.log(64))))
    font = ImageFont.truetype(str(rng.choice(_typefaces())), size)
    y, letters = 8.0, 0
    while y + size < HEIGHT:
        line = ""
        while draw.textlength(longer := f"{line} {rng.choice(_WORDS)}", font=font) < WIDTH - 16:
            line = longer
        draw.text((8, y), line, fill=int(rng.integers(0, 90)), font=font)
        letters += len(line.replace(" ", ""))
        y += 1.4 * size
    return np.asarray(page, np.uint8), letters


def _typefaces() -> Sequence[str]:
    folder = Path(str(files("matplotlib") / "mpl-data" / "fonts" / "ttf"))
    found = {path for pattern in _LETTERS for path in folder.glob(pattern)}
    return sorted(str(path) for path in found if "Display" not in path.name)
