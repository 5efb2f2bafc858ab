"""The room behind the cards: a wall, a window's light, a shelf, a table, a plant; drawn once a scene."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def draw_room(width: int, height: int, rng: np.random.Generator) -> Picture:
    """The empty room in its light: BGR, (height, width, 3) uint8."""
    scale = max(width / 640, height / 480)
    full_w, full_h = round(640 * scale), round(480 * scale)
    room = _walls(full_w, full_h, rng)
    _window(room, scale, rng)
    _shelf(room, scale, rng)
    _picture(room, scale, rng)
    _table(room, scale, rng)
    _plant(room, scale, rng)
    room = np.asarray(cv2.GaussianBlur(room, (0, 0), 1.5 * scale), dtype=np.uint8)  # out of focus
    x, y = (full_w - width) // 2, (full_h - height) // 2
    room = room[y : y + height, x : x + width]
    lit = room.astype(np.float32) * _light(width, height, rng)[..., None]
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


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
    """Brighter towards the window, darker into the corners: 0.45 to 1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width, y / height
    source = rng.uniform((0.05, 0.0), (0.35, 0.3))
    distance = np.hypot(x - source[0], (y - source[1]) * 0.8)
    return np.asarray(np.clip(1.06 - 0.5 * distance, 0.45, 1.0), dtype=np.float32)


def _walls(width: int, height: int, rng: np.random.Generator) -> Picture:
    tints = np.array([[178, 196, 206], [200, 196, 178], [176, 200, 190], [190, 190, 204]])
    wall = rng.choice(tints).astype(np.float32)
    room = np.empty((height, width, 3), np.float32)
    room[:] = wall
    floor_y = round(0.8 * height)
    boards = np.array([88, 124, 158], dtype=np.float32) * float(rng.uniform(0.8, 1.0))
    room[floor_y:] = boards
    for _ in range(14):  # boards run towards the eye
        foot = float(rng.uniform(-0.4, 1.4)) * width
        head = width / 2 + (foot - width / 2) * 0.55
        tint = tuple(float(value) for value in boards * float(rng.uniform(0.86, 0.95)))
        cv2.line(room, (round(head), floor_y), (round(foot), height), tint, max(1, width // 400), cv2.LINE_AA)
    skirting = tuple(float(value) for value in wall * 1.12)
    cv2.rectangle(room, (0, floor_y - round(0.02 * height)), (width, floor_y), skirting, -1)
    return np.clip(room, 0, 255).astype(np.uint8)


def _window(room: Picture, scale: float, rng: np.random.Generator) -> None:
    x, y = round(float(rng.uniform(18, 50)) * scale), round(float(rng.uniform(20, 40)) * scale)
    w, h = round(130 * scale), round(170 * scale)
    cv2.rectangle(room, (x - 8, y - 8), (x + w + 8, y + h + 8), (232, 238, 240), -1)
    sky = np.linspace((255, 236, 206), (250, 250, 244), h).astype(np.uint8)
    room[y : y + h, x : x + w] = sky[:, None]
    for share in (0.3, 0.62):
        centre = (x + round(share * w), y + h)
        cv2.ellipse(room, centre, (round(0.4 * w), round(0.3 * h)), 0, 180, 360, (120, 168, 140), -1)
    cv2.rectangle(room, (x + w // 2 - 3, y), (x + w // 2 + 3, y + h), (232, 238, 240), -1)
    cv2.rectangle(room, (x, y + h // 2 - 3), (x + w, y + h // 2 + 3), (232, 238, 240), -1)
    cv2.rectangle(room, (x - 14, y + h + 8), (x + w + 14, y + h + 18), (222, 228, 232), -1)


def _shelf(room: Picture, scale: float, rng: np.random.Generator) -> None:
    left, right = round(420 * scale), round(620 * scale)
    for top in (70, 190):
        base = round((top + 78) * scale)
        x = left + round(8 * scale)
        while x < right - round(26 * scale):
            w, h = round(float(rng.uniform(11, 24)) * scale), round(float(rng.uniform(46, 74)) * scale)
            if rng.random() < 0.14:
                x += round(1.6 * w)
                continue
            tint = rng.uniform(50, 190, 3)
            cv2.rectangle(room, (x, base - h), (x + w, base), tuple(float(v) for v in tint), -1)
            band = tuple(float(value) for value in np.minimum(tint + 50, 235))
            cv2.rectangle(room, (x, base - h + 8), (x + w, base - h + 13), band, -1)
            x += w + 2
        cv2.rectangle(room, (left, base), (right, base + round(8 * scale)), (70, 104, 140), -1)


def _picture(room: Picture, scale: float, rng: np.random.Generator) -> None:
    x, y, w, h = (round(value * scale) for value in (232, 48, 128, 96))
    cv2.rectangle(room, (x - 7, y - 7), (x + w + 7, y + h + 7), (60, 74, 92), -1)
    cv2.rectangle(room, (x, y), (x + w, y + h), (206, 214, 216), -1)
    for _ in range(3):
        centre = (x + round(float(rng.uniform(0.25, 0.75)) * w), y + round(float(rng.uniform(0.4, 0.8)) * h))
        radius = round(float(rng.uniform(0.12, 0.26)) * w)
        tint = tuple(float(value) for value in rng.uniform(90, 200, 3))
        cv2.circle(room, centre, min(radius, y + h - centre[1]), tint, -1, cv2.LINE_AA)


def _table(room: Picture, scale: float, rng: np.random.Generator) -> None:
    y = round(float(rng.uniform(352, 372)) * scale)
    left, right = round(60 * scale), round(440 * scale)
    wood = (68, 100, 138)
    for x in (left + round(24 * scale), right - round(36 * scale)):
        cv2.rectangle(room, (x, y), (x + round(14 * scale), round(480 * scale)), (52, 78, 108), -1)
    cv2.rectangle(room, (left, y), (right, y + round(16 * scale)), wood, -1)
    mug = round(float(rng.uniform(120, 330)) * scale)
    tint = tuple(float(value) for value in rng.uniform(120, 220, 3))
    cv2.ellipse(
        room, (mug + round(32 * scale), y - round(18 * scale)), (round(9 * scale),) * 2, 0, 0, 360, tint, 4
    )
    cv2.rectangle(room, (mug, y - round(36 * scale)), (mug + round(30 * scale), y), tint, -1)


def _plant(room: Picture, scale: float, rng: np.random.Generator) -> None:
    x, y = round(float(rng.uniform(520, 580)) * scale), round(402 * scale)
    for _ in range(26):
        angle = float(rng.uniform(-160, -20))
        length = float(rng.uniform(26, 70)) * scale
        centre = (
            round(x + 0.6 * length * np.cos(np.deg2rad(angle))),
            round(y - 14 * scale + 0.8 * length * np.sin(np.deg2rad(angle))),
        )
        tint = (float(rng.uniform(50, 84)), float(rng.uniform(104, 150)), float(rng.uniform(60, 90)))
        cv2.ellipse(
            room, centre, (round(0.5 * length), round(7 * scale)), angle, 0, 360, tint, -1, cv2.LINE_AA
        )
    pot = np.array([[-26, -16], [26, -16], [19, 38], [-19, 38]]) * scale + (x, y)
    cv2.fillConvexPoly(room, np.rint(pot).astype(np.int32), (74, 96, 176), cv2.LINE_AA)
