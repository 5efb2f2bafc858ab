"""Which shapes of a network's input are one picture of a digit, and how large that picture is."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod
from typing import NamedTuple

from models.bundle.digits import SIDE

SMALLEST, LARGEST = 8, 256
"""Height, and width, of a picture that a digit model plausibly takes."""
_CHANNELS = (1, 3)


class PictureShape(NamedTuple):
    """A square picture within the shape of an input."""

    side: int
    channels_first: bool = False
    channels: int = 1
    """Each is given the same grey picture."""


def picture_shape(shape: Sequence[int]) -> PictureShape | None:
    """The picture that an input of this shape, without the batch, takes; None where it takes none.

    These are 28 × 28 values in row order whatever their axes, a square with 1 or 3 channels last or first,
    and the values of a square in a row.
    """
    if any(length < 1 for length in shape):
        return None
    if prod(shape) == SIDE * SIDE:
        return PictureShape(SIDE)
    match list(shape):
        case [length] if isqrt(length) ** 2 == length:
            picture = PictureShape(isqrt(length))
        case [height, width] if height == width:
            picture = PictureShape(height)
        case [height, width, channels] if height == width and channels in _CHANNELS:
            picture = PictureShape(height, False, channels)
        case [channels, height, width] if height == width and channels in _CHANNELS:
            picture = PictureShape(height, True, channels)
        case _:
            return None
    return picture if SMALLEST <= picture.side <= LARGEST else None
