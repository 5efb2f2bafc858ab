"""A hand that writes digits: shapes we authored, one writer a seed, every digit a little different.

It writes for the built-in scene and for the pad. Each digit has several allographs (a slashed zero, a barred
seven, a five in one stroke or two); a writer has a favourite of each and a slant, a width, a roundness and an
unsteadiness of its own. The same text and seed always give the same strokes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Stroke = list[Point]

# One string an allograph, in hundredths of a unit box with y downwards: points joined by a smooth curve,
# `!` after a point makes it a corner, `/` lifts the pen. The number before weighs how often hands choose it.
_ALLOGRAPHS: dict[str, tuple[tuple[int, str], ...]] = {
    "0": (
        (58, "54,3 30,10 16,46 26,88 50,97 74,86 84,46 72,12 50,3 40,8"),
        (16, "62,8 40,3 20,24 18,66 36,94 62,94 80,68 80,30 64,8 52,6"),
        (18, "54,3 30,10 16,46 26,88 50,97 74,86 84,46 72,12 50,3 42,6 / 82,10 20,92"),
        (8, "44,6 24,20 16,54 28,92 54,96 78,78 82,40 68,10 52,4"),
    ),
    "1": (
        (46, "52,2 49,50 48,98"),
        (34, "26,27 40,17 54,3! 52,50 51,98"),
        (14, "26,25 40,15 53,3! 51,50 50,96 / 24,97 50,96 78,97"),
        (6, "22,40 40,24 56,3! 53,50 50,98"),
    ),
    "2": (
        (44, "17,25 30,7 54,2 76,15 74,36 52,63 14,96! 48,94 86,96"),
        (26, "19,23 36,5 60,4 76,22 66,50 42,80 22,95 12,88 22,79 44,88 66,97 88,90"),
        (14, "18,14 40,5 66,8 76,24 60,54 16,95! 50,93 84,95"),
        (12, "16,9 48,8 80,7! 50,48 14,94! 50,93 86,95"),
    ),
    "3": (
        (48, "18,15 40,2 70,9 74,32 44,47! 74,55 82,77 58,97 30,97 13,87"),
        (22, "17,6 48,5 79,4! 60,24 42,41! 72,49 84,72 62,96 34,97 14,88"),
        (30, "20,12 44,2 70,12 68,36 48,47 72,56 80,78 56,97 28,97 14,90"),
    ),
    "4": (
        (40, "30,3 24,32 15,60! 48,58 86,57 / 64,28 62,62 60,98"),
        (22, "34,2 22,36 13,62! 50,60 90,58 / 66,5 63,52 61,98"),
        (30, "64,98 65,50 66,3! 40,36 12,67! 50,66 92,65"),
        (8, "26,4 20,30 22,52 44,58 66,48 74,20 / 76,4 70,50 64,98"),
    ),
    "5": (
        (42, "31,5 28,24 26,44! 46,37 72,44 82,66 70,90 44,98 14,91 / 30,5 56,5 83,3"),
        (36, "80,4 56,6 31,6! 28,26 25,45! 46,37 72,44 82,66 70,90 44,98 14,90"),
        (8, "77,6 50,4 32,12 26,34 44,45 68,52 80,70 68,91 42,98 16,91"),
        (8, "33,8 30,26 28,46! 52,40 76,50 80,72 64,94 36,98 14,92 / 36,9 60,6 88,5"),
    ),
    "6": (
        (50, "68,4 42,18 24,46 20,74 36,96 62,96 78,78 68,58 46,54 25,70"),
        (26, "60,3 42,26 27,56 22,80 40,97 66,94 76,76 62,62 42,66 26,80"),
        (24, "74,8 50,6 28,28 18,62 30,92 58,98 80,82 76,60 52,50 24,66"),
    ),
    "7": (
        (44, "14,7 48,7 85,5! 66,42 46,98"),
        (24, "14,7 48,7 85,5! 66,42 46,98 / 34,50 56,49 82,47"),
        (14, "16,24 18,6! 50,7 85,6! 64,44 46,98"),
        (18, "14,9 46,12 83,4! 64,34 54,64 50,98"),
    ),
    "8": (
        (56, "73,17 52,3 30,12 32,33 52,46 74,62 76,84 52,98 26,88 24,66 46,48 70,32 74,16 66,7"),
        (20, "50,3 28,14 34,38 52,46 72,32 70,10 50,3 / 52,46 26,58 22,82 48,98 76,86 74,60 52,46"),
        (24, "50,48 28,32 32,8 56,3 74,16 68,36 44,52 22,72 30,94 56,98 78,82 70,60 48,46"),
    ),
    "9": (
        (42, "76,22 58,4 34,8 24,30 38,50 62,46 77,18! 75,48 70,98"),
        (30, "77,20 56,3 32,10 24,32 40,50 64,44 77,18! 78,58 66,90 42,98 24,90"),
        (14, "74,12 48,4 28,20 30,44 54,50 74,28 76,12! 72,50 58,98"),
        (14, "78,16 60,4 36,8 26,28 38,48 60,44 78,24 74,52 60,80 40,98"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """What stays the same while one person writes."""

    slant: float
    """Shear: how far the top leans right, in units of height."""
    width: float
    """Width of a digit against our drawing of it."""
    size: float
    """Height of a digit in the unit box, 0 to 1."""
    roundness: float
    """How much corners are rounded, 0 to 1."""
    unsteadiness: float
    """Tremor and wobble, in units of height."""
    variety: float
    """How far each digit differs from the last of its kind, in units of height."""
    drift: float
    """How far the line climbs or falls from one digit to the next, in units of height."""
    favourites: dict[str, int]
    """Which allograph of each digit this writer prefers."""

    @classmethod
    def from_seed(cls, seed: int) -> Writer:
        """The writer of this seed."""
        rng = np.random.default_rng([seed, 0x41])
        favourites = {}
        for digit, allographs in _ALLOGRAPHS.items():
            share = np.array([common for common, _ in allographs], dtype=float)
            favourites[digit] = int(rng.choice(len(allographs), p=share / share.sum()))
        return cls(
            slant=float(np.clip(rng.normal(0.12, 0.14), -0.2, 0.45)),
            width=float(rng.uniform(0.72, 1.05)),
            size=float(rng.uniform(0.76, 0.9)),
            roundness=float(rng.uniform(0.0, 0.8)),
            unsteadiness=float(rng.uniform(0.003, 0.014)),
            variety=float(rng.uniform(0.012, 0.03)),
            drift=float(rng.normal(0, 0.008)),
            favourites=favourites,
        )


def write(digits: str, seed: int, *, writer: Writer | None = None) -> list[list[Stroke]]:
    """Write `digits` by hand: for each digit its strokes in the unit box, x to the right and y downwards.

    `seed` chooses the writer (unless one is given) and every small difference. Raises ValueError where the
    text holds anything but the digits 0 to 9.
    """
    strange = sorted({character for character in digits if character not in _ALLOGRAPHS})
    if strange:
        raise ValueError(f"the hand writes the digits 0 to 9 only, not {' '.join(map(repr, strange))}")
    author = writer or Writer.from_seed(seed)
    rng = np.random.default_rng([seed, 0x42])
    return [_digit(digit, place, author, rng) for place, digit in enumerate(digits)]


def into_box(
    strokes: Sequence[Stroke], x: float, y: float, width: float, height: float, margin: float = 0.06
) -> list[Stroke]:
    """Place one digit of `write` into a box of pixels, in its middle, its shape kept."""
    side = min(width, height) * (1 - 2 * margin)
    left, top = x + (width - side) / 2, y + (height - side) / 2
    return [[(left + px * side, top + py * side) for px, py in stroke] for stroke in strokes]


def into_line(
    digits: Sequence[Sequence[Stroke]], x: float, y: float, height: float, gap: float = 0.2
) -> list[list[Stroke]]:
    """Place the digits of `write` one after the other, `gap` (in units of `height`) between their inks.

    (x, y) is the upper left corner of the line, `height` that of the unit box; all in pixels.
    """
    line: list[list[Stroke]] = []
    for strokes in digits:
        xs = [px for stroke in strokes for px, _ in stroke]
        left, right = min(xs), max(xs)
        shift = x - left * height
        line.append([[(shift + px * height, y + py * height) for px, py in stroke] for stroke in strokes])
        x += (right - left + gap) * height
    return line


def _digit(digit: str, place: int, author: Writer, rng: np.random.Generator) -> list[Stroke]:
    allographs = _ALLOGRAPHS[digit]
    chosen = author.favourites[digit] if rng.random() < 0.88 else int(rng.integers(len(allographs)))
    lean = author.slant + rng.normal(0, 0.035)
    turn = rng.normal(0, 0.03)
    wide = author.width * np.exp(rng.normal(0, 0.06))
    tall = min(author.size * np.exp(rng.normal(0, 0.05)), 0.96)
    narrow = 0.86 if digit == "1" else 1.0
    sink = np.clip(author.drift * place + rng.normal(0, 0.012), -0.1, 0.1)
    shear = np.array([[1.0, -lean], [0.0, 1.0]])
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shape = rotate @ shear @ np.diag([wide * narrow, 1.0])
    strokes = []
    for points, corners in _parse(allographs[chosen][1]):
        moved = points + rng.normal(0, author.variety, points.shape)
        curve = _curve(moved, corners, author.roundness)
        curve = curve + _wobble(len(curve), author.unsteadiness, rng)
        strokes.append((curve - 0.5) @ shape.T)
    ink = np.vstack(strokes)
    low, high = ink.min(axis=0), ink.max(axis=0)
    scale = min(tall / max(high[1] - low[1], 0.3), 0.96 / max(high[0] - low[0], 1e-6))
    centre = (low + high) / 2
    room = max(0.0, 0.49 - (high[1] - low[1]) * scale / 2)
    middle = np.array([0.5, 0.5 + np.clip(sink, -room, room)])
    placed = [(stroke - centre) * scale + middle for stroke in strokes]
    return [[(float(x), float(y)) for x, y in np.clip(stroke, 0.0, 1.0)] for stroke in placed]


def _parse(text: str) -> list[tuple[NDArray[np.float64], list[bool]]]:
    strokes = []
    for part in text.split("/"):
        words = part.split()
        points = np.array([[float(v) for v in word.rstrip("!").split(",")] for word in words]) / 100
        strokes.append((points, [word.endswith("!") for word in words]))
    return strokes


def _curve(points: NDArray[np.float64], corners: list[bool], roundness: float) -> NDArray[np.float64]:
    """A cubic Hermite curve through the points; at a corner the tangents fall towards nothing."""
    ahead = np.vstack([points[1:], 2 * points[-1:] - points[-2:-1]])
    behind = np.vstack([2 * points[:1] - points[1:2], points[:-1]])
    before, after = points - behind, ahead - points
    length_before = np.linalg.norm(before, axis=1, keepdims=True) + 1e-9
    length_after = np.linalg.norm(after, axis=1, keepdims=True) + 1e-9
    direction = before / length_before + after / length_after
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    sharp = np.array(corners)[:, None]
    leave = np.where(sharp, roundness * 0.5, 1.0) * direction
    pieces = []
    for i in range(len(points) - 1):
        span = length_after[i]
        steps = max(4, int(np.ceil(span[0] * 40)))
        t = np.linspace(0, 1, steps, endpoint=False)[:, None]
        start, end = leave[i] * span, leave[i + 1] * span
        pieces.append(
            (2 * t**3 - 3 * t**2 + 1) * points[i]
            + (t**3 - 2 * t**2 + t) * start
            + (3 * t**2 - 2 * t**3) * points[i + 1]
            + (t**3 - t**2) * end
        )
    return np.vstack([*pieces, points[-1:]])


def _wobble(count: int, amount: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Slow noise along a stroke: random knots, smoothly joined."""
    knots = max(3, count // 8)
    position = np.linspace(0, knots - 1, count)
    noise = rng.normal(0, amount, (knots, 2))
    return np.column_stack([np.interp(position, np.arange(knots), noise[:, axis]) for axis in (0, 1)])
