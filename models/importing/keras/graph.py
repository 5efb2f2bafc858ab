"""The network under construction: operations as layers add them, with the shape of every value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from messages.errors import ErrorCode
from models.importing.keras.layer import MAX_PARAMETERS, Layer, size, too_complex
from models.importing.network import Operation, Shape
from models.refusal import Refusal

MAX_OPERATIONS = 1_000
MAX_VALUES = 8 << 20
"""Numbers between layers, of one picture, in all."""

Value = int
Apply = Callable[[Layer, "Graph", Value], Value]
"""Adds what a layer does to a value; the value that comes of it."""


class Graph:
    """Operations as they are added, and the shape of every value."""

    def __init__(self, input_shape: Shape) -> None:
        self.shapes: list[Shape] = [input_shape]
        self.operations: list[Operation] = []
        self._parameters = self._numbers = 0

    def add(
        self, kind: Callable[..., Operation], inputs: tuple[Value, ...], shape: Shape, **what: Any
    ) -> Value:
        """A step that makes a value of `shape`; the value's number. Raises Refusal where it gets too much."""
        self._numbers += size(shape)
        if self._numbers > MAX_VALUES:
            raise too_complex("numbers between its layers", MAX_VALUES)
        if len(self.operations) >= MAX_OPERATIONS:
            raise too_complex("operations", MAX_OPERATIONS)
        self._parameters += sum(part.size for part in what.values() if isinstance(part, np.ndarray))
        if self._parameters > MAX_PARAMETERS:
            raise too_complex("weights", MAX_PARAMETERS)
        self.shapes.append(shape)
        self.operations.append(kind(inputs=inputs, output=len(self.shapes) - 1, **what))
        return len(self.shapes) - 1

    def image(self, layer: Layer, x: Value) -> tuple[int, int, int]:
        """Height, width and channels of a value. Raises Refusal where it is no image, channels last."""
        layer.channels_last()
        shape = self.shapes[x]
        if len(shape) != 3:
            raise does_not_fit(layer, shape)
        return shape[0], shape[1], shape[2]


def does_not_fit(layer: Layer, shape: Shape) -> Refusal:
    """The refusal of a layer that can't take a value of this shape."""
    return Refusal(
        ErrorCode.BAD_CONFIG,
        f"Layer {layer.name!r} ({layer.kind}) can't take values of shape {shape}: it makes no sense.",
    )


def windows(
    layer: Layer, shape: Shape, size: tuple[int, int], strides: tuple[int, int], same: bool
) -> tuple[int, int]:
    """How many windows of a size fit into an image below and beside one another."""
    if same:
        return -(-shape[0] // strides[0]), -(-shape[1] // strides[1])
    rows, columns = ((shape[axis] - size[axis]) // strides[axis] + 1 for axis in (0, 1))
    if rows < 1 or columns < 1:
        raise does_not_fit(layer, shape)
    return rows, columns
