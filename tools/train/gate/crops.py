"""The crops the gate learns from: what the eye sees in drawings on paper and in pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from models.eye.eye import Eye
from models.inference.normalise import normalise
from tools.bench.backdrops import DRAWN
from tools.terminal.output import say
from tools.train.gate.digits import Drawer, Pixels, Random, bent


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


def crops(eye: Eye, ways: list[tuple[float, Drawer]], count: int, rng: Random) -> Pixels:
    """(count, 28, 28): what the eye takes for a digit in drawings of so many kinds; the surest of each."""
    share = np.array([way[0] for way in ways])
    made: list[Pixels] = []
    tried = 0
    while len(made) < count:
        tried += 1
        way = ways[int(rng.choice(len(ways), p=share / share.sum()))][1]
        found = eye.glance(on_paper(way(rng), rng))
        if found:
            made.append(normalise(max(found, key=lambda digit: digit.score).ink))
    say(f"  {count} crops of {tried} drawings")
    return np.stack(made)


def picture_crops(eye: Eye, photos: Sequence[Path], views: int, rounds: int, rng: Random) -> Iterator[Pixels]:
    """(n, 28, 28) for each look at a picture without digits: what the eye takes for one in it.

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
            found = eye.glance(part)
            if found:
                yield np.stack([normalise(digit.ink) for digit in found])


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
