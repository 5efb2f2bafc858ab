"""Pictures with nothing to read in them: rooms, faces, textures, lines, grids, printed words.

They are drawn, or are photos and fonts that come with scikit-learn and matplotlib (the extra `test` brings
both). Each takes a random generator and gives BGR (HEIGHT, WIDTH, 3) uint8: larger than a frame, so that a
camera can move over it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.capture.room import draw_room

Picture = NDArray[np.uint8]
Random = np.random.Generator

WIDTH, HEIGHT = 960, 720

WORDS = (
    "ADVERT APART ARRAY BANNER CANVAS CAPTURE CARD CHART CUT DANGER DEPARTURE EARTH EXPERT FRAME FREE GATE "
    "GUARD HEAT KEEP KNEE MAP MARGAUX NEVER NEXT PAPER PARK PAUSE QUARTET RATE REPAY TEXTURE THREAD TRADE "
    "UPPER VAGUE WATER WEEK YARD accept advance camera cheap change charge empty gather greet heat hunt jump "
    "karat keep market matter meter nature paper patent peer pharmacy pretty quart reach repeat "
    "thread tractor upward velvet warm water wax yacht year"
)
"""Without O, I, L, Z, S and B, large or small, which look like digits."""
_LOOK_ALIKES = frozenset("OILZSB")


def words() -> list[str]:
    """What the printed pages say."""
    return [word for word in WORDS.split() if not _LOOK_ALIKES & set(word.upper())]


def room(rng: Random) -> Picture:
    """An empty room: window, shelf, table, plant."""
    return draw_room(WIDTH, HEIGHT, rng)


def face(rng: Random) -> Picture:
    """Someone before a wall: a photo, or drawn."""
    return _framed(_photo("face"), rng) if rng.random() < 0.3 else drawn_face(rng)


def drawn_face(rng: Random) -> Picture:
    """Someone before a wall, with or without glasses."""
    canvas = _plain(rng)
    skin = np.array([120, 150, 205]) * rng.uniform(0.45, 1.15)
    hair = rng.uniform(15, 110, 3)
    x, y = rng.uniform(0.4, 0.6) * WIDTH, rng.uniform(0.42, 0.52) * HEIGHT
    tall = rng.uniform(0.22, 0.36) * HEIGHT
    wide = tall * rng.uniform(0.7, 0.85)

    def oval(dx: float, dy: float, a: float, b: float, tint: NDArray[np.float64], line: int = -1) -> None:
        centre = round(x + dx * wide), round(y + dy * tall)
        axes = max(1, round(a * wide)), max(1, round(b * tall))
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, _tint(tint), line, cv2.LINE_AA)

    oval(0, 2.3, 2.2, 1.2, rng.uniform(40, 200, 3))  # shoulders
    oval(0, -0.16, 1.16, 1.08, hair)
    oval(0, 0.85, 0.45, 0.5, skin * 0.85)
    oval(0, 0.08, 1.0, 1.0, skin)
    glasses = rng.random() < 0.4
    for side in (-1, 1):
        oval(side * 1.02, 0.05, 0.12, 0.2, skin * 0.9)
        oval(side * 0.38, -0.1, 0.19, 0.08, np.array([235.0, 240, 240]))
        oval(side * 0.38, -0.1, 0.08, 0.075, rng.uniform(30, 110, 3))
        brow = [(x + side * wide * u, y - tall * (0.27 + 0.05 * np.sin(3 * u))) for u in (0.16, 0.36, 0.6)]
        _stroke(canvas, brow, hair, tall * 0.05)
        if glasses:  # one frame: rim, bridge and temple hang together
            oval(side * 0.38, -0.1, 0.3, 0.2, hair * 0.6, max(2, round(tall * 0.02)))
            for inner, outer in ((0, 0.08), (0.68, 1.02)):
                ends = [(x + side * part * wide, y - 0.1 * tall) for part in (inner, outer)]
                _stroke(canvas, ends, hair * 0.6, tall * 0.02)
    size = np.array([wide, tall])
    nose = np.array([[0, -0.02], [-0.1, 0.3], [0.06, 0.32]]) * size + (x, y)
    mouth = np.array([[-0.35, 0.55], [0, 0.55 + rng.uniform(-0.03, 0.1)], [0.35, 0.55]]) * size + (x, y)
    _stroke(canvas, nose, skin * 0.78, tall * 0.025)
    _stroke(canvas, mouth, np.array([80.0, 80, 160]), tall * 0.04)
    return _blurred(canvas, rng.uniform(1, 2.5))


def texture(rng: Random) -> Picture:
    """Cloth, stone, wood, leaves, or a photo of a flower or a roof."""
    if rng.integers(5) == 0:
        return _framed(_photo(str(rng.choice(("flower", "roof")))), rng)
    return drawn_texture(rng)


def drawn_texture(rng: Random) -> Picture:
    """Cloth, stone, wood or leaves."""
    kind = rng.integers(1, 5)
    grain = np.zeros((HEIGHT, WIDTH), np.float32)
    if kind == 1:  # wood: drawn-out noise
        for fine in (3, 12, 40):
            grain += _noise(rng, max(2, round(HEIGHT / fine)), max(2, round(WIDTH / fine / 12))) * fine / 20
    elif kind == 2:  # stone: noise of all sizes
        for fine in (2, 6, 18, 54):
            grain += _noise(rng, round(HEIGHT / fine), round(WIDTH / fine)) * np.sqrt(fine) / 6
    elif kind == 3:  # cloth: two waves across one another
        row, column = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        period = rng.uniform(5, 18)
        grain = np.sin(column * 2 * np.pi / period) * np.sin(row * 2 * np.pi / period) + _noise(rng, 90, 120)
    else:
        return _leaves(rng)
    tint = rng.uniform(90, 190, 3).astype(np.float32)
    contrast = rng.uniform(8, 30)
    return np.clip(tint + contrast * grain[..., None], 0, 255).astype(np.uint8)


def lines(rng: Random) -> Picture:
    """Ruled paper, blinds, a fence, cables, beams. All leave the view: a short one would be a 1."""
    canvas = _plain(rng)
    ink, thick = rng.uniform(20, 120, 3), int(rng.integers(1, 9))
    kind = rng.integers(3)
    if kind == 0:
        gap, turn = rng.uniform(14, 70), rng.uniform(-0.3, 0.3) + np.pi / 2 * rng.integers(2)
        for place in np.arange(-1.2 * WIDTH, 1.2 * WIDTH, gap):
            _line_across(canvas, place, turn, ink, thick)
    elif kind == 1:
        for _ in range(rng.integers(6, 30)):
            middle, lean = rng.uniform(-0.5, 0.5) * WIDTH, rng.uniform(0, np.pi)
            _line_across(canvas, middle, lean, rng.uniform(20, 140, 3), int(rng.integers(1, 12)))
    else:
        for _ in range(rng.integers(3, 9)):
            across = np.linspace(-50, WIDTH + 50, 60)
            sag = rng.uniform(20, 160) * np.cos(across / WIDTH * rng.uniform(2, 7) + rng.uniform(0, 6))
            cable = np.column_stack([across, rng.uniform(0, HEIGHT) + sag])
            _stroke(canvas, cable, rng.uniform(20, 120, 3), thick)
    return _blurred(canvas, rng.uniform(0.4, 1.6))


def grid(rng: Random) -> Picture:
    """Squared paper, tiles, a chequered floor, bricks, an empty Sudoku."""
    canvas = _plain(rng)
    ink, side = rng.uniform(20, 150, 3), rng.uniform(18, 90)
    thick, turn, kind = int(rng.integers(1, 6)), rng.uniform(-0.4, 0.4), rng.integers(3)
    if kind == 0:
        for place in np.arange(-1.2 * WIDTH, 1.2 * WIDTH, side):
            _line_across(canvas, place, turn, ink, thick)
            _line_across(canvas, place, turn + np.pi / 2, ink, thick)
    elif kind == 1:
        for row in range(round(HEIGHT / side) + 1):
            for column in range(round(WIDTH / side) + 1):
                if (row + column) % 2:
                    corner = round(column * side), round(row * side)
                    cv2.rectangle(
                        canvas, corner, (round(corner[0] + side), round(corner[1] + side)), _tint(ink), -1
                    )
    else:
        for row in range(round(2 * HEIGHT / side) + 1):
            top = row * side / 2
            _stroke(canvas, [(0, top), (WIDTH, top)], ink, thick)
            for column in range(round(WIDTH / side) + 1):
                left = (column + 0.5 * (row % 2)) * side
                _stroke(canvas, [(left, top), (left, top + side / 2)], ink, thick)
    return _blurred(canvas, rng.uniform(0.4, 1.6))


def text(rng: Random) -> Picture:
    """A printed page, a sign, a poster: words of `words()` in one of many typefaces."""
    from PIL import Image, ImageDraw, ImageFont

    paper, ink = (255, 20) if rng.random() < 0.8 else (30, 240)
    page = Image.new("L", (WIDTH, HEIGHT), paper)
    draw, said = ImageDraw.Draw(page), words()
    size = int(np.exp(rng.uniform(np.log(16), np.log(90))))
    font = ImageFont.truetype(str(rng.choice(_typefaces())), size)
    y = rng.uniform(0, size)
    while y < HEIGHT:
        x = rng.uniform(0.2, 2) * size
        while x < WIDTH - size:
            word = str(rng.choice(said))
            draw.text((x, y), word, fill=ink, font=font)
            x += draw.textlength(word + " ", font=font) * rng.uniform(1, 1.3)
        y += size * rng.uniform(1.15, 2.2)
    flat = np.asarray(page, np.float32)[..., None] / 255
    shade = 0.75 + 0.25 * _noise(rng, 3, 4)[..., None] / 2
    return _blurred(
        np.clip(flat * rng.uniform(190, 255, 3) * shade, 0, 255).astype(np.uint8), rng.uniform(0.3, 1.4)
    )


KINDS: dict[str, Callable[[Random], Picture]] = {
    "rooms": room,
    "faces": face,
    "textures": texture,
    "lines": lines,
    "grids": grid,
    "printed words": text,
}

DRAWN: tuple[Callable[[Random], Picture], ...] = (room, drawn_face, drawn_texture, lines, grid)
"""Those of them that need neither a photo nor a typeface."""


@cache
def _photo(name: str) -> Picture:
    if name == "face":
        path = files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    else:
        path = files("sklearn") / "datasets" / "images" / {"flower": "flower.jpg", "roof": "china.jpg"}[name]
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)


@cache
def _typefaces() -> tuple[str, ...]:
    folder = Path(str(files("matplotlib") / "mpl-data" / "fonts" / "ttf"))
    return tuple(str(path) for path in sorted(folder.glob("DejaVuS*.ttf")) if "Display" not in path.name)


def _framed(photo: Picture, rng: Random) -> Picture:
    """A photo so large that it fills the canvas, mirrored or not."""
    scale = max(WIDTH / photo.shape[1], HEIGHT / photo.shape[0]) * rng.uniform(1, 1.4)
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    x, y = (int(rng.integers(large.shape[axis] - side + 1)) for axis, side in ((1, WIDTH), (0, HEIGHT)))
    cut = large[y : y + HEIGHT, x : x + WIDTH]
    return np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut, np.uint8)


def _leaves(rng: Random) -> Picture:
    canvas = np.full((HEIGHT, WIDTH, 3), (30, 60, 40), np.uint8)
    for _ in range(500):
        centre = tuple(rng.integers((0, 0), (WIDTH, HEIGHT)).tolist())
        long = int(rng.integers(12, 60))
        tint = rng.uniform((20, 70, 30), (90, 190, 110))
        axes = long, max(3, round(long * rng.uniform(0.2, 0.5)))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, _tint(tint), -1, cv2.LINE_AA)
    return _blurred(canvas, 1)


def _plain(rng: Random) -> Picture:
    """A wall or a sheet in soft light."""
    light = 1 - 0.15 * np.abs(_noise(rng, 3, 4))
    return np.clip(rng.uniform(150, 240, 3) * light[..., None], 0, 255).astype(np.uint8)


def _noise(rng: Random, rows: int, columns: int) -> NDArray[np.float32]:
    """Smooth noise over the canvas with so many bumps, about -2 to 2."""
    coarse = rng.normal(0, 1, (max(2, rows), max(2, columns))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)


def _line_across(canvas: Picture, place: float, turn: float, ink: NDArray[np.float64], thick: int) -> None:
    """A straight line over the whole canvas, `place` pixels beside its middle."""
    along, aside = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    foot = np.array([WIDTH / 2, HEIGHT / 2]) + aside * place
    _stroke(canvas, [foot - 2 * WIDTH * along, foot + 2 * WIDTH * along], ink, thick)


def _stroke(canvas: Picture, points: ArrayLike, ink: NDArray[np.float64], thick: float) -> None:
    path = np.rint(np.array(points) * 16).astype(np.int32)
    cv2.polylines(canvas, [path], False, _tint(ink), max(1, round(thick)), cv2.LINE_AA, 4)


def _blurred(canvas: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), sigma), np.uint8)


def _tint(colour: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.clip(colour, 0, 255))
