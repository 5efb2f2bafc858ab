"""What is written on: plain, ruled and squared paper, boards, photographs and pictures without digits."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from tools.bench.backdrops import KINDS
from tools.train.eye.canvas import Array, Random, log_uniform

PHOTO_FOLDERS = ("/usr/share/backgrounds", "/usr/share/wallpapers", "/usr/share/mypaint-data")
_LONGEST = 1000
"""Pictures are kept with so many pixels on their longer side."""
_WITH_WRITING = ("page", "text", "clock", "logo", "multipage", "phantom", "horse")
"""Sample images of scikit-image that show writing, or next to nothing."""
_LARGE_FILE = 1_000_000
"""Bytes of a file that is read at a quarter of its size, in a fraction of the time."""
_DRAWN_SEED = 4711
"""Another seed than the benchmark's own."""


class Grounds:
    """Pictures without digits, loaded once, and papers drawn anew each time."""

    def __init__(self, folders: Sequence[str] = PHOTO_FOLDERS, drawn: int = 30) -> None:
        """Load the photographs below `folders`, and draw so many rooms, faces, textures, … of each kind."""
        self._pictures = [*_photographs(folders), *_drawings(drawn)]

    def picture(self, rng: Random, side: int) -> Array:
        """A part of a picture without digits, (side, side) float32."""
        whole = self._pictures[int(rng.integers(len(self._pictures)))]
        part = int(min(*whole.shape, side * log_uniform(rng, 0.6, 3.5)))
        y, x = (int(rng.integers(0, size - part + 1)) for size in whole.shape)
        cut = cv2.resize(whole[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_AREA)
        return (cut[:, ::-1] if rng.random() < 0.5 else cut).astype(np.float32)

    def ground(self, rng: Random, side: int, *, papers: float = 0.7) -> Array:
        """Something to write on, (side, side) float32; a paper in that share of calls."""
        kind = rng.random()
        if kind < papers:
            return paper(rng, side)
        if kind < papers + 0.07:
            return texture(rng, side)
        flat = rng.uniform(0.1, 1.0)
        return self.picture(rng, side) * np.float32(flat) + np.float32((1 - flat) * rng.uniform(60, 230))


def paper(rng: Random, side: int) -> Array:
    """Plain, ruled or squared paper, or a board, (side, side) float32."""
    level = rng.uniform(15, 90) if rng.random() < 0.1 else rng.uniform(100, 255)
    ground: Array = np.full((side, side), level, np.float32)
    if rng.random() < 0.5:
        ground += np.float32(rng.uniform(0.5, 6)) * noise(rng, side, rng.uniform(1.5, 12))
    if rng.random() < 0.5:
        ground *= 1 - np.float32(rng.uniform(0.04, 0.5)) * _ruling(rng, side)
    return ground


def texture(rng: Random, side: int) -> Array:
    """Wood, stone or cardboard, (side, side) float32."""
    grain: Array = np.zeros((side, side), np.float32)
    long = rng.uniform(1, 16) if rng.random() < 0.5 else 1.0
    for fine in (2, 7, 25):
        grain += noise(rng, side, fine, fine * long) * np.float32(np.sqrt(fine) / 4)
    grain = grain.T if rng.random() < 0.5 else grain
    return grain * np.float32(rng.uniform(3, 30)) + np.float32(rng.uniform(50, 220))


def noise(rng: Random, side: int, fine: float, long: float | None = None) -> Array:
    """Smooth noise of deviation about 1, (side, side) float32; grains are `fine` pixels high, `long` wide."""
    rows, columns = max(2, round(side / fine)), max(2, round(side / (long or fine)))
    coarse = rng.standard_normal((rows, columns), np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def _ruling(rng: Random, side: int) -> Array:
    """Lines of ruled or squared paper as coverage 0 to 1."""
    lines: Array = np.zeros((side, side), np.float32)
    pitch, thick = log_uniform(rng, 8, 90), int(rng.integers(1, 3))
    for y in np.arange(rng.uniform(0, pitch), side, pitch):
        cv2.line(lines, (0, round(y)), (side, round(y)), 1.0, thick, cv2.LINE_AA)
    if rng.random() < 0.55:
        for x in np.arange(rng.uniform(0, pitch), side, pitch):
            cv2.line(lines, (round(x), 0), (round(x), side), 1.0, thick, cv2.LINE_AA)
    elif rng.random() < 0.3:  # a margin
        x = round(rng.uniform(0, side))
        cv2.line(lines, (x, 0), (x, side), 1.0, thick, cv2.LINE_AA)
    return lines


def _photographs(folders: Sequence[str]) -> list[Array]:
    """Wallpapers of this machine and the sample images of scikit-image and scikit-learn, grey."""
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*.*"))]
    names: dict[str, Path] = {}
    for path in paths:  # one size of each: KDE keeps many
        key = str(path.parents[2]) if "images" in path.parts else str(path)
        names.setdefault(key, path)
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        if find_spec(package) is not None:
            samples = sorted(Path(str(files(package))).joinpath(folder).glob("*.*"))
            names |= {str(path): path for path in samples if path.stem not in _WITH_WRITING}
    found = []
    for path in names.values():
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            continue
        large = path.stat().st_size > _LARGE_FILE
        picture = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_4 if large else cv2.IMREAD_GRAYSCALE)
        if picture is None or min(picture.shape) < 150:
            continue
        scale = min(1.0, _LONGEST / max(picture.shape))
        found.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return found


def _drawings(of_a_kind: int) -> list[Array]:
    """Rooms, faces, textures, lines and grids, drawn as for `smartcar bench nothing`."""
    found = []
    for number, draw in enumerate(KINDS.values()):
        for copy in range(of_a_kind):
            try:
                picture = draw(np.random.default_rng([_DRAWN_SEED, number, copy]))
            except ImportError:
                break
            found.append(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    return found
