"""Strokes that write given digits into the boxes, from the synthetic handwriting."""

from __future__ import annotations

from messages.pad import inside
from models.ink.synthetic_handwriting import Stroke, into_box, write

MARGIN = 0.06
"""The margin at each side of a box, as a share of the box."""


def written(digits: str, seed: int) -> tuple[list[int], list[Stroke]]:
    """Which boxes are written into, 0 to 4, and the strokes in canvas pixels; `-` passes over a box."""
    places = [place for place, digit in enumerate(digits) if digit.isdigit()]
    strokes: list[Stroke] = []
    for place, digit in zip(places, write("".join(digits[each] for each in places), seed), strict=True):
        box = inside(place)
        strokes += into_box(digit, box.x, box.y, box.width, box.height, MARGIN)
    return places, strokes
