"""The room behind the cards of the built-in scene: `room.jpg`, in the light of this scene."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_FILE = Path(__file__).with_name("room.jpg")


def draw_room(width: int, height: int, rng: np.random.Generator) -> Picture:
    """The empty room, mirrored or not: BGR, (height, width, 3) uint8."""
    picture = _picture()
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    room = np.asarray(cv2.resize(picture, size, interpolation=interpolation))
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    lit = room[y : y + height, x : x + width] * _light(width, height, rng)[..., None]
    return np.ascontiguousarray(lit[:, :: rng.choice((-1, 1))].astype(np.uint8))


def draw_shadow(width: int, height: int, rng: np.random.Generator) -> Picture:
    """How much light reaches a card at each pixel, 0 to 255 in B, G and R: the room's and a soft shadow."""
    light = _light(width, height, rng) * 0.96
    soft = np.ones((height, width), np.float32)
    x = float(rng.uniform(0.1, 0.9)) * width
    slant = float(rng.uniform(-0.4, 0.4)) * width
    band = float(rng.uniform(0.12, 0.3)) * width
    shape = np.array([[x, 0], [x + band, 0], [x + band + slant, height], [x + slant, height]])
    cv2.fillConvexPoly(soft, np.rint(shape).astype(np.int32), float(rng.uniform(0.62, 0.8)))
    soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), 0.02 * width), dtype=np.float32)
    warm = np.array([0.95, 0.985, 1.0], dtype=np.float32)
    shade = np.clip((light * soft)[..., None] * warm * 255, 0, 255)
    return np.ascontiguousarray(shade.astype(np.uint8))


def _light(width: int, height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """How bright each pixel is: less the farther from a window somewhere at the upper left; 0.45 to 1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width, y / height
    source = rng.uniform((0.05, 0.0), (0.35, 0.3))
    distance = np.hypot(x - source[0], (y - source[1]) * 0.8)
    return np.asarray(np.clip(1.06 - 0.5 * distance, 0.45, 1.0), dtype=np.float32)


@cache
def _picture() -> Picture:
    picture = cv2.imread(str(_FILE))
    assert picture is not None
    return np.asarray(picture, np.uint8)
