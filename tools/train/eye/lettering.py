"""Letters and words that are not to be read: printed in the fonts of this machine, and written by hand."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tools.train.eye.canvas import Array, Random
from tools.train.eye.pens import Style, tight, write_strokes

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
LOOK_ALIKES = frozenset("OoIl|iZzSsBbGgqQDJ")
"""Letters that, alone or by hand, a person may take for a digit."""
_SEED = 5
_SIZE = 56
"""Height in pixels at which fonts are drawn."""
_SYMBOLS = re.compile("symbol|dingbat|emoji|math|ornament|music|icons|awesome|barcode|braille", re.IGNORECASE)
_WRITTEN = re.compile(
    "comic|handwrit|breip|bwht|dancing|ecolier|femke|humor|isabella|kaushan|kristi|purisa|chilanka|rufscript|dustin|"
    "leckerli|radisnoir|summersby|klaudia|tomsontalks|script",
    re.IGNORECASE,
)
_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"

# Strokes in hundredths of a unit box, y downwards; `/` lifts the pen. No letter here may pass for a digit.
_HAND = {
    "A": "0,100 50,0 100,100 / 20,60 80,60",
    "C": "90,15 60,0 25,10 5,50 25,90 60,100 90,85",
    "E": "90,0 10,0 10,100 90,100 / 10,50 70,50",
    "F": "10,100 10,0 90,0 / 10,45 70,45",
    "H": "10,0 10,100 / 90,0 90,100 / 10,50 90,50",
    "K": "10,0 10,100 / 90,0 12,55 90,100",
    "L": "10,0 10,100 85,100",
    "M": "0,100 10,0 50,70 90,0 100,100",
    "N": "10,100 10,0 90,100 90,0",
    "P": "15,100 15,0 70,5 85,28 65,50 15,52",
    "R": "10,100 10,0 70,5 85,25 65,48 12,50 90,100",
    "T": "0,0 100,0 / 50,0 50,100",
    "U": "5,0 8,70 30,98 65,98 90,70 95,0",
    "V": "0,0 50,100 100,0",
    "W": "0,0 25,100 50,30 75,100 100,0",
    "X": "5,0 95,100 / 95,0 5,100",
    "Y": "0,0 50,50 / 100,0 50,50 50,100",
    "d": "80,60 50,40 15,60 20,92 55,98 80,75 / 85,0 85,100",
    "e": "10,60 85,58 70,30 35,25 8,60 30,98 80,90",
    "f": "80,5 50,0 40,25 38,100 / 10,40 70,40",
    "h": "15,0 15,100 / 15,55 50,38 80,55 80,100",
    "k": "15,0 15,100 / 80,40 18,68 80,100",
    "m": "5,100 5,35 / 5,50 30,35 45,55 45,100 / 45,50 75,35 92,55 92,100",
    "n": "10,100 10,30 / 10,50 50,30 85,50 85,100",
    "r": "15,100 15,30 / 15,55 45,32 75,38",
    "t": "45,0 42,85 60,100 80,92 / 10,30 80,30",
    "u": "10,30 12,85 45,98 80,70 / 85,30 85,100",
    "v": "5,30 45,100 90,30",
    "w": "0,30 22,98 45,45 68,98 95,30",
    "x": "5,30 85,100 / 85,30 5,100",
    "+": "50,10 50,90 / 10,50 90,50",
    "=": "10,35 90,35 / 10,65 90,65",
    "?": "10,20 40,0 80,15 70,40 45,60 45,78 / 44,96 46,100",
    "#": "35,0 25,100 / 75,0 65,100 / 5,35 95,35 / 0,68 90,68",
    "*": "50,20 50,80 / 20,35 80,65 / 80,35 20,65",
    "<": "90,10 10,50 90,90",
    ">": "10,10 90,50 10,90",
    "(": "60,0 30,30 28,70 60,100",
    "&": "90,95 30,30 50,0 70,25 15,75 45,100 90,60",
}


class Lettering:
    """Words and letters as coverage, printed ones drawn once and scaled as needed."""

    def __init__(self, count: int = 1400) -> None:
        """Draw `count` printed words in the fonts found, by Pillow; without fonts all is written by hand."""
        self._printed = _printed(np.random.default_rng(_SEED), count) if fonts() else []

    def word(self, rng: Random, height: float) -> Array:
        """Coverage (h, w) uint8 of a word or letter, about `height` pixels high."""
        if not self._printed or rng.random() < 0.3:
            return written_word(rng, height)
        patch = self._printed[int(rng.integers(len(self._printed)))]
        scale = height / _SIZE
        size = max(2, round(patch.shape[1] * scale)), max(2, round(patch.shape[0] * scale))
        patch = cv2.resize(patch, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        return _sloped(rng, patch) if rng.random() < 0.3 else patch


def written_word(rng: Random, height: float, style: Style | None = None) -> Array:
    """Letters by one hand and pen, beside each other: coverage (h, w) uint8."""
    style = style or Style.drawn(rng, boldest=0.16)
    count = 1 if rng.random() < 0.4 else int(rng.integers(2, 7))
    letters = [written_letter(rng, height, style) for _ in range(count)]
    gap = max(1, round(rng.uniform(0.05, 0.4) * height))
    tall = max(letter.shape[0] for letter in letters)
    canvas: Array = np.zeros((tall, sum(letter.shape[1] + gap for letter in letters)), np.uint8)
    x = 0
    for letter in letters:
        canvas[tall - letter.shape[0] :, x : x + letter.shape[1]] = letter
        x += letter.shape[1] + gap
    return canvas


def written_letter(rng: Random, height: float, style: Style) -> Array:
    """One letter or sign by hand: coverage (h, w) uint8."""
    signs = list(_HAND)
    strokes = []
    for path in _HAND[signs[int(rng.integers(len(signs)))]].split(" / "):
        points = np.array([[float(part) for part in point.split(",")] for point in path.split()])
        points *= [0.7, 1.0]
        points += rng.normal(0, 4, points.shape)
        strokes.append(_curved(points) if rng.random() < 0.7 else points)
    return write_strokes(rng, strokes, height, style.varied(rng))


def _curved(points: Array) -> Array:
    for _ in range(2):
        inner = np.stack([0.8 * points[:-1] + 0.2 * points[1:], 0.2 * points[:-1] + 0.8 * points[1:]], 1)
        points = np.concatenate([points[:1], inner.reshape(-1, 2), points[-1:]])
    return points


@cache
def fonts() -> tuple[str, ...]:
    """Paths of the fonts of this machine that have letters."""
    found = [path for folder in FONT_FOLDERS for path in sorted(Path(folder).rglob("*.[to]tf"))]
    return tuple(str(path) for path in found if not _SYMBOLS.search(path.name) and _has_letters(path))


def _has_letters(path: Path) -> bool:
    """Whether the font has Latin letters: one without draws the same box for each."""
    from PIL import ImageFont

    try:
        face = ImageFont.truetype(str(path), 24)
        return len({bytes(face.getmask(letter)) for letter in "aeMx"}) == 4
    except OSError:
        return False


def _printed(rng: Random, count: int) -> list[Array]:
    from PIL import Image, ImageDraw, ImageFont

    found: list[Array] = []
    names = fonts()
    written = [name for name in names if _WRITTEN.search(name)]
    for _ in range(4 * count):
        pool = written if written and rng.random() < 0.45 else names
        name = pool[int(rng.integers(len(pool)))]
        text = _text(rng)
        try:
            face = ImageFont.truetype(name, _SIZE)
            _, _, width, height = map(int, face.getbbox(text))
            if not (8 < width < 900 and 8 < height < 200):
                continue
            image = Image.new("L", (width + 8, height + 8))
            ImageDraw.Draw(image).text((4, 4), text, fill=255, font=face)
        except OSError:
            continue
        patch = tight(np.asarray(image, np.uint8))
        if patch.shape[0] > 12 and patch.mean() < 190:
            found.append(patch)
        if len(found) == count:
            break
    return found


def _text(rng: Random) -> str:
    """A word that sounds like one, or a letter that is no look-alike of a digit."""
    if rng.random() < 0.2:
        signs = [sign for sign in "ACEFHKLMNPRTUVWXYadefhkmnrtuvwxy&@#%+=?!€" if sign not in LOOK_ALIKES]
        return signs[int(rng.integers(len(signs)))]
    length, odd = int(rng.integers(3, 10)), int(rng.integers(2))
    kinds = (_VOWELS, _CONSONANTS) if rng.random() < 0.85 else (_VOWELS + _CONSONANTS,) * 2
    word = ""
    while len(word) < length:
        kind = kinds[(len(word) + odd) % 2]
        word += kind[int(rng.integers(len(kind)))]
    case = rng.random()
    return word if case < 0.5 else word.capitalize() if case < 0.75 else word.upper()


def _sloped(rng: Random, patch: Array) -> Array:
    height, width = patch.shape
    rise, lean = rng.normal(0, 0.12), rng.normal(0, 0.1)
    matrix = np.array([[1, -lean, max(0.0, lean * height)], [rise, 1, max(0.0, -rise * width)]])
    size = int(width + abs(lean) * height + 1), int(height + abs(rise) * width + 1)
    return cv2.warpAffine(patch, matrix, size)
