"""Layers that make one value of several."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.importing.keras.graph import Graph, Value, does_not_fit
from models.importing.keras.layer import Layer
from models.importing.network import Affine, Combination, Combine, Concatenate

Merge = Callable[[Layer, Graph, list[Value]], Value]
"""Adds what a layer makes of several values; the value that comes of it."""


def _combine(combination: Combination, *, mean: bool = False) -> Merge:
    def merge(layer: Layer, graph: Graph, values: list[Value]) -> Value:
        total = values[0]
        for value in values[1:]:
            shapes = graph.shapes[total], graph.shapes[value]
            if len(shapes[0]) != len(shapes[1]) or any(
                a != b and 1 not in (a, b) for a, b in zip(*shapes, strict=True)
            ):
                raise does_not_fit(layer, graph.shapes[value])
            shape = tuple(max(pair) for pair in zip(*shapes, strict=True))
            total = graph.add(Combine, (total, value), shape, combination=combination)
        if mean:
            parts = {"scale": np.array([1 / len(values)], np.float32), "offset": np.zeros(1, np.float32)}
            total = graph.add(Affine, (total,), graph.shapes[total], **parts)
        return total

    return merge


def _concatenate(layer: Layer, graph: Graph, values: list[Value]) -> Value:
    shapes = [graph.shapes[value] for value in values]
    rank, axis = len(shapes[0]), layer.take("axis", -1)
    if isinstance(axis, bool) or not isinstance(axis, int) or not (axis % (rank + 1) and abs(axis) <= rank):
        raise layer.unsupported(f"joining axis {axis!r}")
    along = axis % (rank + 1) - 1
    others = {(*shape[:along], *shape[along + 1 :]) for shape in shapes}
    if len(others) > 1 or {len(shape) for shape in shapes} != {rank}:
        raise does_not_fit(layer, shapes[-1])
    joined = sum(shape[along] for shape in shapes)
    return graph.add(
        Concatenate, tuple(values), (*shapes[0][:along], joined, *shapes[0][along + 1 :]), axis=along
    )


MERGING_LAYERS: dict[str, Merge] = {
    "Add": _combine("add"),
    "Average": _combine("add", mean=True),
    "Concatenate": _concatenate,
    "Maximum": _combine("maximum"),
    "Minimum": _combine("minimum"),
    "Multiply": _combine("multiply"),
    "Subtract": _combine("subtract"),
}
