"""How well the eye does on held-out scenes of each kind: digits found, what is invented, votes that hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from tools.train.eye.canvas import Array
from tools.train.eye.network import Eye
from tools.train.eye.scenes import KINDS, SceneMaker
from tools.train.eye.targets import UNIT, TrainingScene

_PEAK = 0.3
"""A local maximum of the centre map is a digit from here."""
_NEAR = 0.25
"""How far a peak may be from a digit's centre, in digit sizes."""
_REACH = 0.35
"""How far a vote may be from its digit's centre, in digit sizes."""
_INK = 0.4
"""A pixel is a digit's ink from here."""


@dataclass(frozen=True)
class Found:
    """Counts over scenes of one kind."""

    digits: int
    found: int
    invented: int
    voted: float
    """Share of digits of whose ink at least 85 % is seen and votes for their centre."""
    overlap: float
    """Intersection over union of ink."""


def held_out(
    maker: SceneMaker, side: int, each: int, kinds: Sequence[str] = KINDS
) -> dict[str, list[TrainingScene]]:
    """So many scenes of each kind, by kind and side."""
    return {f"{kind} {side}": [maker.scene(side, kind) for _ in range(each)] for kind in kinds}


def validate(network: Eye, scenes: dict[str, list[TrainingScene]]) -> dict[str, Found]:
    """Judge a network, which is in evaluation mode, by kind of scene."""
    return {kind: _judge(network, some) for kind, some in scenes.items()}


def _judge(network: Eye, scenes: Sequence[TrainingScene]) -> Found:
    digits = found = invented = votes = both = either = 0
    for scene in scenes:
        ink, centre, offset = _maps(network, scene.grey)
        peaks = _peaks(centre)
        open_at = scene.owner[::2, ::2] == 255
        taken = np.zeros(len(peaks), bool)
        for x, y, width, height, number in scene.boxes.tolist():
            digits += 1
            size, middle = max(width, height), np.array([x + width / 2 - 0.5, y + height / 2 - 0.5])
            near = np.hypot(*(peaks - middle).T) < _NEAR * size
            found += bool(near.any())
            taken |= near
            votes += _voted(scene, number, ink, offset, middle, size) >= 0.85
        invented += int((~taken & ~_at(open_at, peaks)).sum())
        known, wanted, seen = scene.ink_weight > 0, scene.ink > 100, ink > _INK
        both += int((wanted & seen & known).sum())
        either += int(((wanted | seen) & known).sum())
    return Found(digits, found, invented, votes / max(digits, 1), both / max(either, 1))


def _maps(network: Eye, grey: Array) -> tuple[Array, Array, Array]:
    """Ink at half size, centre (q, q) and offset (3, q, q)."""
    x = torch.from_numpy(grey)[None, None].float() / 127.5 - 1
    with torch.inference_mode():
        ink, centre, offset = network(x.contiguous(memory_format=torch.channels_last))
        half = torch.nn.functional.pixel_shuffle(torch.sigmoid(ink), 2)
        return half[0, 0].numpy(), torch.sigmoid(centre)[0, 0].numpy(), offset[0].numpy()


def _peaks(centre: Array) -> Array:
    """Centres (n, 2) as x and y in pixels of the picture."""
    top = (centre == cv2.dilate(centre, np.ones((3, 3), np.uint8))) & (centre > _PEAK)
    return np.asarray(np.argwhere(top)[:, ::-1] * 4 + 1.5)


def _at(mask: Array, peaks: Array) -> Array:
    columns, rows = (peaks // 4).astype(int).T
    return np.asarray(mask[rows, columns])


def _voted(scene: TrainingScene, number: int, ink: Array, offset: Array, middle: Array, size: int) -> float:
    """Share of a digit's ink that is seen and points to its centre."""
    rows, columns = np.nonzero((scene.owner == number) & (scene.ink > 100))
    if not len(rows):
        return 1.0
    way = offset[:2, rows // 2, columns // 2].T * UNIT
    cells = np.column_stack([columns // 2, rows // 2]) * 4 + 1.5
    hit = np.hypot(*(cells + way - middle).T) < _REACH * size
    return float((hit & (ink[rows, columns] > _INK)).mean())
