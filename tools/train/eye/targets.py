"""What the eye is to say about a scene, as arrays, and how much each pixel counts.

Every digit counts alike, whatever its size: a large digit's many pixels weigh less. Where a person could not
tell, such as a digit cut off by the edge or paler than the noise, nothing counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.train.eye.canvas import Array, SceneCanvas

UNIT = 32.0
"""Offsets and sizes are told in units of so many pixels of the picture."""
_VISIBLE = 0.75
"""Share of a digit's ink that must be in view for it to count."""
_FAINTEST = 6.0
"""Grey levels by which a digit must stand out to count."""
_INK_WEIGHT = 3.0
"""How much more a pixel of ink weighs than one of paper beside it."""
_FAR_WEIGHT = 0.6
"""What a pixel far from all digits weighs."""
_CROWDED, CROWDED_WEIGHT = 0.8, 2.0
"""How near another digit's centre is, in sizes, where a digit counts more, and how much."""
_NOTHING_WEIGHT = 2.0
"""How much more all pixels weigh in a scene without digits: what is read there is always wrong."""


@dataclass(frozen=True)
class TrainingScene:
    """A grey picture (s, s) uint8 and what is to be seen in it; h is s/2, q is s/4."""

    grey: Array
    ink: Array
    """(h, h) uint8: coverage by handwritten digits."""
    ink_weight: Array
    """(h, h) float16."""
    heat: Array
    """(q, q) uint8: 255 at digits' centres, falling off around them."""
    heat_weight: Array
    """(q, q) float16."""
    offset: Array
    """(3, q, q) float16: dx and dy to the digit's centre in units, and log2 of its size in units."""
    offset_weight: Array
    """(q, q) float16: adds up to about 1 for each digit."""
    boxes: Array
    """(n, 5) int32: x, y, width, height of the digits that count, and each one's number among the owners."""
    owner: Array
    """(h, h) uint8: whose ink it is, by those numbers; 255 for what is left open."""

    def learned(self) -> tuple[Array, ...]:
        """The arrays that training needs, in the order of the fields."""
        return (
            self.grey,
            self.ink,
            self.ink_weight,
            self.heat,
            self.heat_weight,
            self.offset,
            self.offset_weight,
        )


def targets(canvas: SceneCanvas, grey: Array, contrast: Array) -> TrainingScene:
    """What is to be seen in `grey`, from the canvas it was drawn from and how much its ink stands out."""
    half, quarter = canvas.side // 2, canvas.side // 4
    ink = np.where(canvas.owner > 0, canvas.ink, 0)
    blocks = ink.reshape(quarter, 4, quarter, 4).transpose(0, 2, 1, 3).reshape(quarter, quarter, 16)
    owners = canvas.owner.reshape(quarter, 4, quarter, 4).transpose(0, 2, 1, 3).reshape(quarter, quarter, 16)
    strongest = blocks.argmax(2)[..., None]
    owner = np.take_along_axis(owners, strongest, 2)[..., 0]
    owner = np.where(np.take_along_axis(blocks, strongest, 2)[..., 0] > 60, owner, 0)
    maps = _Maps(half, quarter, 1.0 if canvas.areas else _NOTHING_WEIGHT)
    pixels_of = _by_owner(canvas.owner)
    cells_of = _by_owner(owner)
    boxes = []
    for number, (ys, xs) in pixels_of.items():
        left, top, right, bottom = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
        box = left, top, right - left, bottom - top
        visible = float(ink[ys, xs].sum()) / 255 / canvas.areas[number]
        if _counts(box, visible, ink[ys, xs], contrast[ys, xs]) and number in cells_of:
            maps.add(box, cells_of[number])
            boxes.append((*box, number))
        else:
            maps.leave_open(box)
    for box, number in _crowded(boxes):
        maps.stress(box, cells_of[number])
    subpixels = ink.reshape(half, 2, half, 2).max((1, 3))
    maps.ink_weight[subpixels > 60] *= _INK_WEIGHT
    unclear = canvas.unclear.reshape(half, 2, half, 2).max((1, 3)) > 0
    maps.ink_weight[unclear] = 0
    maps.heat_weight[unclear.reshape(quarter, 2, quarter, 2).any((1, 3))] = 0
    named = np.where(maps.ink_weight > 0, canvas.owner.reshape(half, 2, half, 2).max((1, 3)), 255)
    return TrainingScene(
        grey=grey,
        ink=subpixels,
        ink_weight=maps.ink_weight.astype(np.float16),
        heat=np.rint(maps.heat * 255).astype(np.uint8),
        heat_weight=maps.heat_weight.astype(np.float16),
        offset=maps.offset.astype(np.float16),
        offset_weight=maps.offset_weight.astype(np.float16),
        boxes=np.array(boxes, np.int32).reshape(-1, 5),
        owner=named.astype(np.uint8),
    )


def _crowded(boxes: list[tuple[int, int, int, int, int]]) -> list[tuple[tuple[int, int, int, int], int]]:
    """The digits, box and number, whose neighbour's centre is near."""
    if len(boxes) < 2:
        return []
    x, y, width, height, _ = np.array(boxes, np.float32).T
    centres = np.stack([x + width / 2, y + height / 2], 1)
    apart = np.linalg.norm(centres[:, None] - centres, axis=2) + np.where(np.eye(len(boxes)), np.inf, 0)
    sizes = np.maximum(width, height)
    near = (apart < _CROWDED * np.maximum(sizes[:, None], sizes)).any(1)
    return [(box[:4], box[4]) for box, is_near in zip(boxes, near.tolist(), strict=True) if is_near]


def _by_owner(owner: Array) -> dict[int, tuple[Array, Array]]:
    """The pixels (rows, columns) of each digit."""
    ys, xs = np.nonzero(owner)
    numbers = owner[ys, xs]
    order = np.argsort(numbers, kind="stable")
    found, begins = np.unique(numbers[order], return_index=True)
    parts = np.split(order, begins[1:])
    return {int(number): (ys[part], xs[part]) for number, part in zip(found, parts, strict=bool(len(found)))}


def _counts(box: tuple[int, int, int, int], visible: float, ink: Array, contrast: Array) -> bool:
    """Whether a person sees this digit: large enough, not cut off, hidden or too pale."""
    if max(box[2:]) < 7 or len(ink) < 6 or visible < _VISIBLE:
        return False
    core = contrast[ink >= min(128, int(ink.max()))]
    mean = float(core.mean())
    return mean >= _FAINTEST and float((core < 0.2 * mean).mean()) < 1 - _VISIBLE


class _Maps:
    def __init__(self, half: int, quarter: int, weight: float) -> None:
        self.ink_weight: Array = np.full((half, half), _FAR_WEIGHT * weight, np.float32)
        self.heat: Array = np.zeros((quarter, quarter), np.float32)
        self.heat_weight: Array = np.full((quarter, quarter), weight, np.float32)
        self.offset: Array = np.zeros((3, quarter, quarter), np.float32)
        self.offset_weight: Array = np.zeros((quarter, quarter), np.float32)

    def leave_open(self, box: tuple[int, int, int, int]) -> None:
        """Let nothing count in this box."""
        x, y, width, height = box
        self.ink_weight[
            max(0, y // 2 - 1) : (y + height) // 2 + 2, max(0, x // 2 - 1) : (x + width) // 2 + 2
        ] = 0
        self.heat_weight[
            max(0, y // 4 - 1) : (y + height) // 4 + 2, max(0, x // 4 - 1) : (x + width) // 4 + 2
        ] = 0

    def add(self, box: tuple[int, int, int, int], cells: tuple[Array, Array]) -> None:
        """A digit with this box, whose ink is in these cells of the quarter maps."""
        x, y, width, height = box
        size = float(max(width, height))
        weight = float(np.clip(UNIT / size, 0.15, 2.0))
        margin = round(0.15 * size)
        region = self.ink_weight[
            max(0, (y - margin) // 2) : (y + height + margin) // 2 + 1,
            max(0, (x - margin) // 2) : (x + width + margin) // 2 + 1,
        ]
        region[region > 0] = weight
        centre_x, centre_y = x + width / 2 - 0.5, y + height / 2 - 0.5
        rows, columns = cells
        self._tell(rows, columns, centre_x, centre_y, size, 1 / len(rows))
        self._mark(centre_x, centre_y, size)

    def stress(self, box: tuple[int, int, int, int], cells: tuple[Array, Array]) -> None:
        """Let this digit's centre and ways count more."""
        quarter = len(self.heat)
        x, y, width, height = box
        row, column = (
            min(quarter - 1, max(0, round((middle - 2) / 4))) for middle in (y + height / 2, x + width / 2)
        )
        self.heat_weight[row, column] *= CROWDED_WEIGHT
        self.offset_weight[cells] *= CROWDED_WEIGHT

    def _tell(self, rows: Array, columns: Array, x: float, y: float, size: float, weight: float) -> None:
        self.offset[0, rows, columns] = (x - (columns * 4 + 1.5)) / UNIT
        self.offset[1, rows, columns] = (y - (rows * 4 + 1.5)) / UNIT
        self.offset[2, rows, columns] = np.log2(size / UNIT)
        self.offset_weight[rows, columns] = weight

    def _mark(self, x: float, y: float, size: float) -> None:
        """A bump at the centre, as wide as the digit is large; its top also tells the size."""
        quarter = len(self.heat)
        sigma = max(0.65, 0.06 * size / 4)
        column, row = (min(quarter - 1, max(0, round((value - 1.5) / 4))) for value in (x, y))
        reach = int(3 * sigma) + 1
        rows = np.arange(max(0, row - reach), min(quarter, row + reach + 1))
        columns = np.arange(max(0, column - reach), min(quarter, column + reach + 1))
        bell_y, bell_x = (
            np.exp(-(((at * 4 + 1.5 - value) / 4) ** 2) / (2 * sigma**2))
            for at, value in ((rows, y), (columns, x))
        )
        bump = np.outer(bell_y, bell_x).astype(np.float32)
        bump[row - rows[0], column - columns[0]] = 1.0
        window = np.ix_(rows, columns)
        self.heat[window] = np.maximum(self.heat[window], bump)
        self.heat_weight[row, column] *= float(np.clip(size / 40, 1, 4))
        near_rows, near_columns = np.nonzero((bump > 0.5) & (self.offset_weight[window] == 0))
        if len(near_rows):
            weight = 0.3 / len(near_rows)
            self._tell(rows[near_rows], columns[near_columns], x, y, size, weight)
