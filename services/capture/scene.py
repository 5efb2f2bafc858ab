"""`scene:`, the built-in picture source: handwritten codes on paper cards, moving through a lit room.

It needs no camera, so there is always something to see and to read. A frame follows from size, seed and index
alone. The room, the noise and each card are drawn once; a frame warps only the cards in view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ink import synthetic_handwriting as hand
from services.capture.room import draw_room, draw_shadow

Picture = NDArray[np.uint8]

EPISODE = 165
"""Frames from one set of cards to the next: 5.5 s at 30 frames a second."""
_ARRIVE, _LEAVE = 34, 128
_PAUSE = (_ARRIVE, _LEAVE)


@dataclass(frozen=True)
class CodeInView:
    """A code whose card is at least partly in view."""

    digits: str
    corners: tuple[tuple[float, float], ...]
    """Of its card in frame pixels: upper left, upper right, lower right, lower left."""
    box: tuple[int, int, int, int]
    """Around the digits themselves: x, y, width, height in frame pixels."""
    complete: bool
    """Whether every digit lies within the frame."""


@dataclass(frozen=True, eq=False)
class _Card:
    """A card and how it moves: drawn flat, with shares of the frame for where it goes."""

    digits: str
    picture: Picture
    ink: NDArray[np.float32]
    """(4, 2): corners of the code on the flat card."""
    size: tuple[float, float]
    start: tuple[float, float]
    rest: tuple[float, float]
    end: tuple[float, float]
    turn: float
    lean: tuple[float, float]
    delay: int


class Scene:
    """Frames of one room. The same (width, height, seed) gives the same frames, in any order."""

    def __init__(self, width: int = 640, height: int = 480, seed: int = 0) -> None:
        """Draw the room. Raises ValueError for a size below 160 by 120."""
        if width < 160 or height < 120:
            raise ValueError(f"a scene is at least 160x120 pixels, not {width}x{height}")
        self.width, self.height, self.seed = width, height, seed
        rng = np.random.default_rng([seed, 1])
        self._room = draw_room(width, height, rng)
        self._shadow = draw_shadow(width, height, rng)
        noise = rng.normal(0, 2.4, (height + 64, width + 64, 3))
        self._brighter = np.clip(np.rint(noise), 0, 20).astype(np.uint8)
        self._darker = np.clip(np.rint(-noise), 0, 20).astype(np.uint8)
        self._cards = lru_cache(maxsize=4)(self._draw_cards)

    def frame(self, index: int) -> Picture:
        """The picture at `index` (0, 1, 2, …; meant for 30 a second): BGR, (height, width, 3) uint8."""
        canvas = self._room.copy()
        for card in self._cards(index // EPISODE):
            self._lay(canvas, card, self._corners(card, index % EPISODE))
        rng = np.random.default_rng([self.seed, 2, index])
        dy, dx = (int(value) for value in rng.integers(0, 64, 2))
        rows, columns = slice(dy, dy + self.height), slice(dx, dx + self.width)
        cv2.add(canvas, self._brighter[rows, columns], dst=canvas)
        cv2.subtract(canvas, self._darker[rows, columns], dst=canvas)
        return canvas

    def truth(self, index: int) -> list[CodeInView]:
        """The codes in view at `index`, from top to bottom."""
        codes = []
        for card in self._cards(index // EPISODE):
            corners = self._corners(card, index % EPISODE)
            warp = _warp(card.picture, corners)
            ink = cv2.perspectiveTransform(card.ink[None], warp)[0]
            low, high = ink.min(axis=0), ink.max(axis=0)
            if high[0] <= 0 or high[1] <= 0 or low[0] >= self.width or low[1] >= self.height:
                continue
            margin = 2
            codes.append(
                CodeInView(
                    digits=card.digits,
                    corners=tuple((float(x), float(y)) for x, y in corners),
                    box=(int(low[0]), int(low[1]), int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1),
                    complete=bool(
                        (low >= margin).all()
                        and high[0] <= self.width - margin
                        and high[1] <= self.height - margin
                    ),
                )
            )
        return sorted(codes, key=lambda code: code.box[1])

    def _draw_cards(self, episode: int) -> tuple[_Card, ...]:
        rng = np.random.default_rng([self.seed, 3, episode])
        lanes = [0.28, 0.74] if rng.random() < 0.3 else [float(rng.uniform(0.36, 0.64))]
        return tuple(self._draw_card(rng, lane, len(lanes), place) for place, lane in enumerate(lanes))

    def _draw_card(self, rng: np.random.Generator, lane: float, lanes: int, place: int) -> _Card:
        count = 5 if rng.random() < 0.7 else int(rng.integers(2, 8))
        digits = "".join(str(digit) for digit in rng.integers(0, 10, count))
        writing = int(rng.integers(2**31))
        picture, ink = _draw_paper(digits, writing, rng)
        tall, wide = picture.shape[:2]
        largest = (0.36 if lanes == 2 else 0.46) * self.height
        height = min(largest * rng.uniform(0.72, 1.0), 0.9 * self.width * tall / wide)
        width = height * wide / tall
        share = width / self.width
        left = bool(rng.random() < 0.5)
        free = max(0.0, (0.94 - share) / 2)
        middle = 0.5 + float(rng.uniform(-free, free)) * 0.8
        outside = -(share / 2 + 0.12), 1 + share / 2 + 0.12
        start, end = outside if left else outside[::-1]
        return _Card(
            digits=digits,
            picture=picture,
            ink=ink,
            size=(width, height),
            start=(start, lane + float(rng.uniform(-0.08, 0.08))),
            rest=(middle, lane),
            end=(end if rng.random() < 0.6 else start, lane + float(rng.uniform(-0.1, 0.1))),
            turn=float(np.clip(rng.normal(0, 5), -13, 13)),
            lean=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.08, 0.08))),
            delay=int(rng.integers(0, 14)) if place else 0,
        )

    def _corners(self, card: _Card, moment: int) -> NDArray[np.float32]:
        """(4, 2): where the card's corners are `moment` frames into its episode."""
        time = moment - card.delay
        come, gone = _ease(time / _PAUSE[0]), _ease((time - _PAUSE[1]) / (EPISODE - 14 - _PAUSE[1]))
        x = card.start[0] + (card.rest[0] - card.start[0]) * come + (card.end[0] - card.rest[0]) * gone
        y = card.start[1] + (card.rest[1] - card.start[1]) * come + (card.end[1] - card.rest[1]) * gone
        # Held by a hand, a card is never quite still.
        sway = moment / 30
        x += 0.006 * np.sin(1.7 * sway + card.turn) + 0.004 * np.sin(0.6 * sway)
        y += 0.005 * np.sin(1.3 * sway + 2 * card.turn)
        angle = np.deg2rad(card.turn + 1.6 * np.sin(1.1 * sway + card.turn) + 8 * (1 - come) - 8 * gone)
        half_w, half_h = card.size[0] / 2, card.size[1] / 2
        flat = np.array([[-half_w, -half_h], [half_w, -half_h], [half_w, half_h], [-half_w, half_h]])
        # Turned a little out of the picture's plane: one side is farther away than the other.
        depth = 1 + flat[:, 0] / half_w * card.lean[0] + flat[:, 1] / half_h * card.lean[1]
        rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array([x * self.width, y * self.height])
        return np.asarray((flat * depth[:, None]) @ rotate.T + centre, dtype=np.float32)

    def _lay(self, canvas: Picture, card: _Card, corners: NDArray[np.float32]) -> None:
        """Warp one card and its cast shadow into the picture."""
        low = np.floor(corners.min(axis=0)).astype(int) - 6
        high = np.ceil(corners.max(axis=0)).astype(int) + 22
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), self.width), min(int(high[1]), self.height)
        if x1 <= x0 or y1 <= y0:
            return
        view = canvas[y0:y1, x0:x1]
        offset = np.array([x0, y0], dtype=np.float32)
        size = (x1 - x0, y1 - y0)
        dark = np.full((size[1], size[0]), 255, np.uint8)
        cv2.fillConvexPoly(dark, np.rint(corners - offset + (7, 10)).astype(np.int32), 120, cv2.LINE_AA)
        cv2.multiply(
            view, cv2.cvtColor(cv2.blur(dark, (13, 13)), cv2.COLOR_GRAY2BGR), dst=view, scale=1 / 255
        )
        paper = cv2.warpPerspective(
            card.picture, _warp(card.picture, corners - offset), size, borderMode=cv2.BORDER_REPLICATE
        )
        # The room's light and the shadows in it fall on the card as well.
        cv2.multiply(paper, self._shadow[y0:y1, x0:x1], dst=paper, scale=1 / 255)
        shape = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(shape, np.rint((corners - offset) * 16).astype(np.int32), 255, cv2.LINE_8, 4)
        cv2.copyTo(paper, shape, view)


def _ease(share: float) -> float:
    """0 to 1, slow at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)


def _warp(picture: Picture, corners: NDArray[np.float32]) -> NDArray[np.float64]:
    height, width = picture.shape[:2]
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    return np.asarray(cv2.getPerspectiveTransform(flat, corners), dtype=np.float64)


def _draw_paper(digits: str, seed: int, rng: np.random.Generator) -> tuple[Picture, NDArray[np.float32]]:
    """A flat card with the code written on it, and the corners of the code."""
    tall, margin = 130, 46
    written = hand.write(digits, seed)
    gap = float(rng.uniform(0.16, 0.36))
    line = hand.into_line(written, margin, 42, tall, gap)
    points = np.array([point for digit in line for stroke in digit for point in stroke], dtype=np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = int(high[0]) + margin, tall + 84
    paper = _paper(width, height, rng)
    pen = rng.choice(np.array([[62, 42, 36], [110, 48, 22], [40, 36, 44], [44, 36, 120], [70, 74, 78]]))
    brush = float(rng.uniform(4.5, 9.5))
    ink = np.zeros((height, width), np.uint8)
    for digit in line:
        for stroke in digit:
            path = np.rint(np.array(stroke) * 16).astype(np.int32)
            cv2.polylines(ink, [path], False, 255, round(brush), cv2.LINE_AA, 4)
    strength = rng.uniform(0.8, 0.97)
    cover = (cv2.GaussianBlur(ink, (3, 3), 0).astype(np.float32) / 255 * strength)[..., None]
    picture = np.clip(paper * (1 - cover) + pen * cover, 0, 255).astype(np.uint8)
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], dtype=np.float32)
    return picture, corners


def _paper(width: int, height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    tints = np.array([[238, 244, 246], [214, 236, 246], [246, 242, 234], [226, 242, 236]])
    tint = rng.choice(tints).astype(np.float32)
    grain = cv2.GaussianBlur(rng.normal(0, 9, (height, width)).astype(np.float32), (0, 0), 2.2)
    paper = np.repeat(grain[..., None], 3, axis=2) + tint
    if rng.random() < 0.3:  # ruled paper, printed pale
        for y in range(30, height - 12, 38):
            cv2.line(paper, (0, y), (width, y), tuple(float(v) for v in tint * (0.97, 0.92, 0.88)), 2)
    edge = tuple(float(value) for value in tint * 0.86)
    cv2.rectangle(paper, (0, 0), (width - 1, height - 1), edge, 2)
    return np.asarray(paper, dtype=np.float32)
