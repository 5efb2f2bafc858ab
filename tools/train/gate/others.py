"""What is no digit: letters and signs, scribbles, shapes, dashes, digits that touch or lie on their side.

Letters that nobody can tell from a digit (O, I, l, Z, S, B, g, q, …) are left out: their line decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tools.bench.pages import TALL, row
from tools.train.gate.digits import Digits, Drawer, Pixels, Random, bent, drawn

LETTERS = "ACEFGHJKLMNPRTUVWXYacdefhjkmnprtuvwxyÄÖÜßñéàΔΣΩλπ"
SIGNS = "+-×÷=%&@#$?<>*~^{}[]€§★♥✓☺→↑←♪∞≈√∑"


def others(digits: Digits, fonts: Sequence[Path]) -> list[tuple[float, Drawer]]:
    """Ways to draw what is no digit, each with its share."""
    faces = [ImageFont.truetype(str(font), 64) for font in fonts]

    def letter(rng: Random) -> Pixels:
        text = str(rng.choice(list(LETTERS if rng.random() < 0.8 else SIGNS)))
        image = Image.new("L", (150, 130))
        ImageDraw.Draw(image).text((40, 30), text, fill=255, font=faces[rng.integers(len(faces))])
        printed = np.asarray(image)
        if rng.random() < 0.3:
            printed = np.asarray(cv2.dilate(printed, np.ones((3, 3), np.uint8)))
        elif rng.random() < 0.2:
            printed = np.asarray(cv2.erode(printed, np.ones((3, 3), np.uint8)))
        return bent(printed, rng)

    def scribble(rng: Random) -> Pixels:
        count = int(rng.integers(6, 16))
        points = np.cumsum(rng.normal(0, 0.3, (count, 2)), axis=0)
        dense = np.linspace(0, count - 1, count * 8)
        smooth = np.column_stack([np.interp(dense, np.arange(count), points[:, axis]) for axis in (0, 1)])
        blurred = cv2.blur(smooth, (1, int(rng.integers(1, 9))))
        return drawn([np.asarray(blurred, dtype=np.float64)], rng)

    def shape(rng: Random) -> Pixels:
        return drawn(_shape(rng), rng)

    def dash(rng: Random) -> Pixels:
        angle = np.deg2rad(float(rng.uniform(-40, 40)))
        bow = float(rng.normal(0, 0.1))
        line = [(t * np.cos(angle), t * np.sin(angle) + bow * t * (1 - t)) for t in np.linspace(0, 1, 12)]
        return drawn([np.array(line)], rng)

    def touching(rng: Random) -> Pixels:
        inks = [cut_out(digits.any(rng)) for _ in range(int(rng.choice([2, 2, 2, 3])))]
        return row(inks, (-0.1, 0.0), rng)[0]

    return [(6, letter), (1, scribble), (2, shape), (1, dash), (2.5, touching), (1.2, digits.on_its_side)]


def cut_out(ink: Pixels) -> Pixels:
    """Ink without the black around it, as tall as `tools.bench.pages` sets digits."""
    x, y, w, h = cv2.boundingRect((ink > 60).astype(np.uint8))
    cut = ink[y : y + h, x : x + w]
    size = max(2, round(w * TALL / max(h, 1))), TALL
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _shape(rng: Random) -> list[NDArray[np.float64]]:
    kind = int(rng.choice([0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8]))
    turn = float(rng.uniform(0, 2 * np.pi))

    def polygon(sides: int, start: float) -> NDArray[np.float64]:
        angles = np.linspace(0, 2 * np.pi, sides + 1) + start
        return np.column_stack([np.cos(angles), np.sin(angles) * float(rng.uniform(0.6, 1.3))])

    if kind == 0:
        return [polygon(3, turn)]
    if kind == 1:
        aspect = np.array([float(np.exp(rng.normal(0, 0.35))), 1])
        return [polygon(4, np.pi / 4 + rng.normal(0, 0.06)) * aspect]
    if kind == 2:  # a star
        angles = np.arange(6) * 4 * np.pi / 5 - np.pi / 2 + rng.normal(0, 0.2)
        return [np.column_stack([np.cos(angles), np.sin(angles)])]
    if kind == 3:  # a cross
        arm = np.array([[-1, 0], [1, 0]])
        c, s = np.cos(turn), np.sin(turn)
        return [arm @ np.array([[c, s], [-s, c]]), arm @ np.array([[-s, c], [-c, -s]]) * rng.uniform(0.6, 1)]
    if kind == 4:  # a corner
        return [
            np.array([[0, 0], [0, 1], [rng.uniform(0.5, 1.2), 1 + rng.normal(0, 0.1)]])
            * rng.choice([-1, 1], 2)
        ]
    if kind == 5:  # a junction
        return [
            np.array([[-1, 0], [1, 0]]),
            np.array([[rng.uniform(-0.6, 0.6), 0], [0, rng.choice([-1, 1])]]),
        ]
    if kind == 6:  # a face
        arc = np.linspace(0.2, np.pi - 0.2, 9)
        mouth = np.column_stack([np.cos(arc), np.sin(arc)]) * 0.55
        eyes = [np.array([[side, -0.3], [side + 0.02, -0.25]]) for side in (-0.35, 0.35)]
        return [polygon(20, 0), mouth, *eyes]
    if kind == 7:  # an arrow
        tip = np.array([[0.5, -0.5], [1, 0], [0.5, 0.5]])
        c, s = np.cos(turn), np.sin(turn)
        rotate = np.array([[c, s], [-s, c]])
        return [np.array([[-1, 0], [1, 0]]) @ rotate, tip @ rotate]
    wave = np.linspace(0, 1, 30)  # a wave, lying or standing
    line = np.column_stack([wave * 2, 0.25 * np.sin(wave * float(rng.uniform(9, 22)))])
    return [line if rng.random() < 0.6 else line[:, ::-1]]
