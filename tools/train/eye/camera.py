"""How a scene is seen: pose, ink on its ground, light and shadow, blur, few pixels, noise and JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from tools.train.eye.canvas import INKED, Array, Random, SceneCanvas, log_uniform
from tools.train.eye.grounds import Grounds, noise


def posed(rng: Random, canvas: SceneCanvas, ground: Array) -> Array:
    """Turn and tilt the whole scene before the camera; the layers change in place, the ground is returned."""
    side, middle = canvas.side, canvas.side / 2
    turn, zoom = rng.normal(0, 0.1), float(np.exp(rng.normal(0, 0.06)))
    cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
    away = rng.normal(0, 0.12, 2) / side if rng.random() < 0.5 else (0.0, 0.0)
    there = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]])
    matrix = there @ [[cosine, -sine, 0], [sine, cosine, 0], [*away, 1]] @ np.linalg.inv(there)
    size = side, side
    canvas.ink = cv2.warpPerspective(canvas.ink, matrix, size)
    canvas.other = cv2.warpPerspective(canvas.other, matrix, size)
    canvas.owner = cv2.warpPerspective(canvas.owner, matrix, size, flags=cv2.INTER_NEAREST)
    if canvas.unclear.any():
        canvas.unclear = cv2.warpPerspective(canvas.unclear, matrix, size, flags=cv2.INTER_NEAREST)
    return cv2.warpPerspective(ground, matrix, size, borderMode=cv2.BORDER_REFLECT)


def seen(
    rng: Random, canvas: SceneCanvas, ground: Array, grounds: Grounds, *, clean: bool
) -> tuple[Array, Array]:
    """The grey picture (side, side) uint8, and how many grey levels digits' ink stands out by, float32."""
    side = canvas.side
    strength = _strength(rng)
    cover = canvas.ink * np.float32(strength / 255)
    if not clean and rng.random() < 0.25:  # pencil, chalk, a dry pen
        cover *= np.clip(0.75 + np.float32(rng.uniform(0.2, 0.5)) * noise(rng, side, 1.5), 0.2, 1)
    other = canvas.other * np.float32(
        (strength * rng.uniform(0.7, 1.1) if rng.random() < 0.6 else rng.uniform(0.1, 0.9)) / 255
    )
    both = np.minimum(np.maximum(cover, other), 1)
    if rng.random() < 0.35:
        both = cv2.GaussianBlur(both, (0, 0), rng.uniform(0.3, 0.9))
    level = float(ground.mean())
    light_ink = level < 75 or (level < 120 and rng.random() < 0.5)
    tint = np.float32(rng.uniform(190, 255) if light_ink else rng.uniform(0, 30))
    grey = ground + (tint - ground) * both
    contrast = np.abs(tint - ground) * cover
    if not clean:
        grey, contrast = _framed(rng, canvas, grey, contrast, grounds)
        grey, contrast = _lit(rng, grey, contrast)
    if rng.random() < 0.2:  # chalk on a board, a screen at night
        grey = 255 - grey
    if not clean and rng.random() < 0.5:
        gain = np.float32(rng.uniform(0.55, 1.15))
        grey, contrast = (grey - 128) * gain + np.float32(128 + rng.normal(0, 18)), contrast * gain
    return _taken(rng, canvas, grey, contrast, clean=clean)


def _strength(rng: Random) -> float:
    """How dark the ink is: 1 for a marker, less for a pencil or a pale pen."""
    kind = rng.random()
    low, high = (0.55, 1.0) if kind < 0.65 else (0.3, 0.6) if kind < 0.88 else (0.14, 0.32)
    return float(rng.uniform(low, high))


def _framed(
    rng: Random, canvas: SceneCanvas, grey: Array, contrast: Array, grounds: Grounds
) -> tuple[Array, Array]:
    """A card or a sheet in front of something else, in some scenes; what it cuts off is left open."""
    around_ink = bool(canvas.areas) and rng.random() < 0.6
    if rng.random() > (0.5 if around_ink else 0.2):
        return grey, contrast
    side = canvas.side
    corners = _around_ink(rng, canvas) if around_ink else _nearly_all(rng, side)
    card: Array = np.zeros((side, side), np.uint8)
    cv2.fillPoly(card, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    behind = grounds.picture(rng, side)
    if rng.random() < 0.4:  # it throws a shadow
        shift = rng.integers(-8, 9, 2)
        shadow = cv2.GaussianBlur(np.roll(card, shift, (0, 1)), (0, 0), 4)
        behind *= 1 - shadow * np.float32(0.5 / 255)
    share = card * np.float32(1 / 255)
    return grey * share + behind * (1 - share), contrast * share


def _nearly_all(rng: Random, side: int) -> Array:
    """Corners (4, 2) of a sheet that covers most of the scene."""
    left, top, right, bottom = np.maximum(rng.uniform(-0.1, 0.25, 4), 0) * side
    corners = np.array(
        [(left, top), (side - right, top), (side - right, side - bottom), (left, side - bottom)]
    )
    return corners + rng.normal(0, 0.03, (4, 2)) * side


def _around_ink(rng: Random, canvas: SceneCanvas) -> Array:
    """Corners (4, 2) of a card a little larger than what is written on it."""
    rows, columns = np.nonzero(canvas.ink > INKED)
    if len(rows) < 3:
        return _nearly_all(rng, canvas.side)
    some = slice(None, None, max(1, len(rows) // 500))
    points = np.column_stack([columns[some], rows[some]]).astype(np.float32)
    middle, size, angle = cv2.minAreaRect(points)
    margin = rng.uniform(0.15, 0.9, 2) * min(size) + 4
    corners = cv2.boxPoints((middle, (size[0] + margin[0], size[1] + margin[1]), angle))
    return np.asarray(corners) + rng.normal(0, 0.04, (4, 2)) * min(size)


def _lit(rng: Random, grey: Array, contrast: Array) -> tuple[Array, Array]:
    side = len(grey)
    if rng.random() < 0.5:
        light = np.maximum(1 + np.float32(rng.uniform(0.03, 0.3)) * noise(rng, side, side / 3), 0.15)
        grey, contrast = grey * light, contrast * light
    if rng.random() < 0.28:
        light = 1 - np.float32(rng.uniform(0.15, 0.7)) * _shadow(rng, side)
        grey, contrast = grey * light, contrast * light
    if rng.random() < 0.1:  # glare
        at = np.arange(side, dtype=np.float32)
        x, y, spread = *(rng.uniform(0, 1, 2) * side), rng.uniform(0.05, 0.4) * side
        bell_x, bell_y = (np.exp(-((at - middle) ** 2) / (2 * spread**2)) for middle in (x, y))
        grey = grey + np.float32(rng.uniform(30, 140)) * np.outer(bell_y, bell_x)
    return grey, contrast


def _shadow(rng: Random, side: int) -> Array:
    """An edge of shadow or a band of it, soft or sharp, 0 to 1."""
    small = side // 2
    shape: Array = np.zeros((small, small), np.uint8)
    origin, angle = rng.uniform(0.1, 0.9, 2) * small, rng.uniform(0, 6.3)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    far, wide = 3 * small, small * (3.0 if rng.random() < 0.6 else rng.uniform(0.1, 0.6))
    corners = [
        origin - along * far,
        origin + along * far,
        origin + along * far + across * wide * rng.uniform(0.6, 1),
        origin - along * far + across * wide,
    ]
    cv2.fillPoly(shape, [np.rint(corners).astype(np.int32)], 255)
    soft = cv2.GaussianBlur(shape, (0, 0), log_uniform(rng, 0.5, 12))
    return cv2.resize(soft, (side, side), interpolation=cv2.INTER_LINEAR) * np.float32(1 / 255)


def _taken(
    rng: Random, canvas: SceneCanvas, grey: Array, contrast: Array, *, clean: bool
) -> tuple[Array, Array]:
    """Blurred, enlarged from few pixels, noisy and compressed, as cameras and screens give pictures."""
    side, smallest = canvas.side, canvas.smallest
    grey = np.asarray(grey, np.float32)
    if rng.random() < (0.15 if clean else 0.5):
        most = 1.5 if smallest < 60 else min(5.0, smallest / 30)
        sigma = rng.uniform(0.3, 1.2) if rng.random() < 0.75 else rng.uniform(0.3, most)
        grey = cv2.GaussianBlur(grey, (0, 0), sigma)
        contrast = cv2.GaussianBlur(np.asarray(contrast, np.float32), (0, 0), sigma)
    if smallest > 50 and rng.random() < 0.4:
        times = rng.uniform(1.4, max(1.5, min(8, smallest / 16)))
        few = cv2.resize(grey, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA)
        how = cv2.INTER_CUBIC if rng.random() < 0.6 else cv2.INTER_LINEAR
        grey = cv2.resize(few, (side, side), interpolation=how)
    if rng.random() < (0.3 if clean else 0.65):
        strength = rng.uniform(0.5, 4) if clean else rng.uniform(0.5, 9)
        grain = rng.standard_normal((side, side), np.float32) * np.float32(strength)
        if rng.random() < 0.3:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * np.float32(1.6)
        grey = grey + grain
        contrast = contrast - np.float32(0.6 * strength)
    picture = np.clip(grey, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return picture, contrast
