"""The crops the gate learns from: drawings on paper and pictures, through `locate`, cuts and `normalise`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from models.inference.normalise import normalise
from services.recognizer.locate import LocateSettings, locate
from services.recognizer.touching import TouchingSettings, between, cuts
from tools.bench.backdrops import DRAWN
from tools.bench.pages import row
from tools.terminal.output import say
from tools.train.data import raster
from tools.train.gate.digits import Digits, Drawer, Pixels, Random, bent
from tools.train.gate.others import cut_out

_SIDE = 48
"""Height at which rows of digits are cut, as on the car."""


def on_paper(drawing: Pixels, rng: Random) -> Pixels:
    """The drawn ink on lit, noisy paper at a random size, as a camera sees it; grey."""
    leaning = bent(drawing, rng)
    _, _, _, h = cv2.boundingRect((leaning > 60).astype(np.uint8))
    if h == 0:
        return np.full((40, 40), 200, np.uint8)
    tall = float(np.exp(rng.uniform(np.log(13), np.log(110))))
    scale = tall / h
    border = int(12 / scale) + 8
    ink = cv2.copyMakeBorder(leaning, border, border, border, border, cv2.BORDER_CONSTANT)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    ink = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=how)
    cover = cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.3, 0.5 + 0.012 * tall))) / 255.0
    height, width = cover.shape
    across, down = (float(value) for value in rng.normal(0, 0.15, 2))
    paper = float(rng.uniform(90, 245)) * (
        1 + np.linspace(0, across, width) + np.linspace(0, down, height)[:, None]
    )
    strength = float(np.clip(rng.normal(0.6, 0.2), 0.2, 0.95))
    grain = rng.normal(0, 1, (height // 3 + 2, width // 3 + 2)).astype(np.float32)
    texture = 1 + 0.12 * cv2.resize(grain, (width, height))
    noise = rng.normal(0, rng.uniform(0.8, 4.5), cover.shape)
    seen = paper * (1 - np.clip(cover * strength * texture, 0, 1)) + noise
    return np.asarray(np.clip(seen, 0, 255), dtype=np.uint8)


def crops(ways: list[tuple[float, Drawer]], count: int, rng: Random) -> Pixels:
    """(count, 28, 28): what locate and normalise make of things so drawn; the largest ink of each picture."""
    share = np.array([way[0] for way in ways])
    made: list[Pixels] = []
    tried = 0
    settings = LocateSettings(max_height=1.0)
    while len(made) < count:
        tried += 1
        way = ways[int(rng.choice(len(ways), p=share / share.sum()))][1]
        found = locate(on_paper(way(rng), rng), settings)
        if found:
            made.append(normalise(max(found, key=lambda candidate: candidate.ink.size).ink))
    say(f"  {count} crops of {tried} drawings")
    return np.stack(made)


def parts(digits: Digits, count: int, rng: Random) -> tuple[Pixels, Pixels]:
    """(n, 28, 28) twice, `count` in all: digits cut off those they touch, and what wrong cuts leave."""
    right: list[Pixels] = []
    wrong: list[Pixels] = []
    settings = TouchingSettings()
    while len(right) + len(wrong) < count:
        inks = [cut_out(digits.any(rng)) for _ in range(int(rng.choice([2, 2, 3])))]
        line, places = row(inks, (-0.09, 0.01), rng)
        _, y, _, h = cv2.boundingRect((line > 60).astype(np.uint8))
        scale = _SIDE / h
        shrunk = cv2.resize(line[y : y + h], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ink = np.asarray(shrunk, np.uint8)
        between_them = [(end + start) / 2 for (_, end), (start, _) in pairwise(places)]
        bounds = [scale * x for x in (0, *between_them, line.shape[1])]
        ends = cuts(ink, _SIDE * float(rng.uniform(0.08, 0.2)), settings)
        for a, left in enumerate(ends):
            for right_end in ends[a + 1 :]:
                if not settings.narrow * _SIDE <= right_end.x - left.x <= settings.broad * _SIDE:
                    continue
                if (part := between(ink, left, right_end)) is None:
                    continue
                seen = raster.photographed(part[0], rng) if rng.random() < 0.6 else part[0]
                off = max(min(abs(end.x - bound) for bound in bounds) for end in (left, right_end)) / _SIDE
                across = any(left.x + 8 < bound < right_end.x - 8 for bound in bounds)
                if off < 0.1 and not across:
                    right.append(normalise(seen))
                elif (off > 0.28 or across) and rng.random() < 0.5:
                    wrong.append(normalise(seen))
    return np.stack(right), np.stack(wrong)


def picture_crops(photos: Sequence[Path], views: int, rounds: int, rng: Random) -> Iterator[Pixels]:
    """(n, 28, 28) for each look at a picture without digits: what `locate` finds in it.

    The pictures are the photos, and `views` of each kind that can be drawn.
    """
    pictures = itertools.chain(
        (np.asarray(cv2.imread(str(path)), np.uint8) for path in photos),
        (draw(rng) for _ in range(views) for draw in DRAWN),
    )
    for picture in pictures:
        shrink = min(1.0, 1600 / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        for _ in range(rounds):
            part = look(np.asarray(small, np.uint8), rng)
            found = locate(part, LocateSettings(polarity="both" if rng.random() < 0.3 else "dark"))
            if found:
                yield np.stack([normalise(candidate.ink) for candidate in found])


def look(picture: Pixels, rng: Random) -> Pixels:
    """A 640×480 part of the picture, at a random size; as it stands, for a mirrored S is a 2."""
    scale = max(640 / picture.shape[1], 480 / picture.shape[0]) * float(np.exp(rng.uniform(0, 1.0)))
    large = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    y = int(rng.integers(0, max(large.shape[0] - 480, 0) + 1))
    x = int(rng.integers(0, max(large.shape[1] - 640, 0) + 1))
    part = large[y : y + 480, x : x + 640]
    part = part.astype(np.int16) + rng.normal(0, rng.uniform(0, 3), part.shape[:2])[..., None].astype(
        np.int16
    )
    return np.ascontiguousarray(np.clip(part, 0, 255).astype(np.uint8))
