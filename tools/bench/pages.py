"""Sheets with rows of real handwritten digits, as a camera sees them: the camera path is judged on them.

The digits come from a data set; paper, light, shadow, ruling, tilt and noise are drawn. The same generator
gives the same page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Random = np.random.Generator

WIDTH, HEIGHT = 640, 480
TALL = 96
"""Digits are set at this height, then shrunk to that of the page: so their edges are smooth."""


@dataclass(frozen=True)
class Look:
    """How a page looks."""

    tall: float = 44
    """Height of a digit in pixels, about."""
    gap: tuple[float, float] = (0.15, 0.45)
    """Between two digits where they are nearest, in heights; below 0 they run into one another."""
    tilt: float = 0.0
    """Of the whole page, in degrees."""
    shadow: bool = False
    """A hard-edged shadow over a part of it, beside light that falls off."""
    ruling: Literal["", "lines", "squares"] = ""
    contrast: float = 0.65
    noise: float = 3.0


def enlarged(image: Pixels) -> Pixels:
    """A small digit, ink bright on black, cut to its ink and `TALL` high, its edges smooth."""
    ys, xs = np.nonzero(image > 40)
    cut = np.pad(image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1], 2)
    scale = TALL / cut.shape[0]
    large = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(large, (0, 0), 0.35 * scale).astype(np.float32)
    return np.asarray(np.clip((soft - 90) * 2.5 + 90, 0, 255), np.uint8)


def row(
    digits: Sequence[Pixels], gap: tuple[float, float], rng: Random
) -> tuple[Pixels, list[tuple[int, int]]]:
    """Digits of `TALL` beside one another (TALL and a half, w), each up or down a little.

    With it where each begins and ends along the row.
    """
    inks = [_placed(ink, rng) for ink in digits]
    line = inks[0]
    places = [(0, line.shape[1])]
    for ink in inks[1:]:
        apart = round(float(rng.uniform(*gap)) * TALL)
        shift = max(line.shape[1] - _nearest(line, ink) + apart, 0)
        wide = max(line.shape[1], shift + ink.shape[1])
        together = np.zeros((line.shape[0], wide), np.uint8)
        together[:, : line.shape[1]] = line
        part = together[:, shift : shift + ink.shape[1]]
        np.maximum(part, ink, out=part)
        line = together
        places.append((shift, shift + ink.shape[1]))
    return line, places


def page(rows: Sequence[Sequence[Pixels]], look: Look, rng: Random) -> Pixels:
    """Rows of digits, each (h, w) bright on black of about `TALL`, on a sheet: BGR (480, 640, 3)."""
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    lines = [row(digits, look.gap, rng)[0] for digits in rows]
    scale = min(look.tall / TALL, 0.86 * WIDTH / max(line.shape[1] for line in lines))
    pitch = HEIGHT / (len(lines) + 0.6)
    for number, line in enumerate(lines):
        small = cv2.resize(line, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = small.shape
        middle = pitch * (number + 0.8) + rng.uniform(-0.1, 0.1) * (pitch - height)
        x = round(float(rng.uniform(0.3, 0.7) * (WIDTH - width)))
        y = round(min(max(middle - height / 2, 4), HEIGHT - height - 4))
        ink[y : y + height, x : x + width] = small
    return _seen(ink / np.float32(255), _ruling(look, rng), look, rng)


def _placed(ink: Pixels, rng: Random) -> Pixels:
    """The ink on a strip half as high again, somewhat above or below its middle."""
    room = TALL // 2 + TALL - ink.shape[0]
    top = int(np.clip(round(room / 2 + rng.normal(0, 0.05 * TALL)), 0, room))
    return np.pad(ink, ((top, room - top), (0, 0)))


def _nearest(left: Pixels, right: Pixels) -> int:
    """How far the right ink can move into the left one's picture until they touch somewhere, in pixels."""
    reach = np.ones((9, 1), np.uint8)  # what nearly lies in one row counts, too
    bounds = []
    for ink in (left[:, ::-1], right):
        there = cv2.dilate((ink > 100).astype(np.uint8), reach) > 0
        bounds.append(np.where(there.any(axis=1), there.argmax(axis=1), 10**6))
    free = int((bounds[0] + bounds[1]).min())
    return free if free < 10**6 else 0


def _ruling(look: Look, rng: Random) -> NDArray[np.float32]:
    """How strongly printed lines darken the sheet."""
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    if look.ruling:
        pitch = float(rng.uniform(0.8, 1.3)) * look.tall
        for y in np.arange(rng.uniform(0, pitch), HEIGHT, pitch):
            cv2.line(drawn, (0, round(y)), (WIDTH, round(y)), (255,), 1, cv2.LINE_AA)
        for x in np.arange(rng.uniform(0, pitch), WIDTH, pitch) if look.ruling == "squares" else ():
            cv2.line(drawn, (round(x), 0), (round(x), HEIGHT), (255,), 1, cv2.LINE_AA)
    return drawn.astype(np.float32) * np.float32(rng.uniform(0.1, 0.22) / 255)


def _seen(ink: NDArray[np.float32], ruling: NDArray[np.float32], look: Look, rng: Random) -> Pixels:
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), look.tilt, 1.0)
    turned, ruled = (cv2.warpAffine(part, turn, (WIDTH, HEIGHT)) for part in (ink, ruling))
    cover = np.clip(cv2.GaussianBlur(turned, (0, 0), 0.7) * look.contrast + ruled, 0, 1)
    falls = [
        np.linspace(1, 1 + float(rng.uniform(-0.25, 0.25)), n, dtype=np.float32) for n in (HEIGHT, WIDTH)
    ]
    light = falls[0][:, None] * falls[1]
    if look.shadow:
        edge = np.zeros((HEIGHT, WIDTH), np.uint8)
        x = rng.uniform(0.2, 0.8, 2) * WIDTH
        corners = np.array([(x[0], 0), (WIDTH, 0), (WIDTH, HEIGHT), (x[1], HEIGHT)])
        cv2.fillPoly(edge, [corners.astype(np.int32)], (255,))
        light = light * (1 - 0.5 * cv2.GaussianBlur(edge, (0, 0), 2.0).astype(np.float32) / 255)
    paper = rng.uniform(185, 225, 3)
    seen = (light * (1 - cover))[..., None] * paper + rng.normal(0, look.noise, (HEIGHT, WIDTH, 3))
    return np.asarray(np.clip(seen, 0, 255), np.uint8)
