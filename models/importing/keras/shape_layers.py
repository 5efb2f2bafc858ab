"""Layers without weights: pooling, shapes, the size and values of an image, and what only training needs."""

from __future__ import annotations

import numpy as np

from models.importing.keras.graph import Apply, Graph, Value, does_not_fit, windows
from models.importing.keras.layer import Layer, size
from models.importing.network import Affine, Crop, GlobalPool, Pad, Pool, Reshape, Resize


def _pool(largest: bool) -> Apply:
    def pool(layer: Layer, graph: Graph, x: Value) -> Value:
        height, width, channels = graph.image(layer, x)
        pool_size = layer.pair("pool_size", 2)
        strides = pool_size if layer.take("strides") is None else layer.pair("strides")
        same = layer.same_padding()
        rows, columns = windows(layer, (height, width), pool_size, strides, same)
        return graph.add(
            Pool, (x,), (rows, columns, channels), largest=largest, size=pool_size, strides=strides, same=same
        )

    return pool


def _global_pool(largest: bool) -> Apply:
    def pool(layer: Layer, graph: Graph, x: Value) -> Value:
        channels = graph.image(layer, x)[2]
        keep = layer.flag("keepdims", False)
        shape = (1, 1, channels) if keep else (channels,)
        return graph.add(GlobalPool, (x,), shape, largest=largest, keep_axes=keep)

    return pool


def _flatten(layer: Layer, graph: Graph, x: Value) -> Value:
    layer.channels_last()
    return graph.add(Reshape, (x,), (size(graph.shapes[x]),))


def _reshape(layer: Layer, graph: Graph, x: Value) -> Value:
    wanted = layer.take("target_shape")
    if not isinstance(wanted, list) or len(wanted) > 4 or any(type(n) is not int for n in wanted):
        raise does_not_fit(layer, graph.shapes[x])
    held, known = size(graph.shapes[x]), 1
    for length in wanted:
        known *= length if length != -1 else 1
    shape = tuple(held // known if length == -1 and known > 0 else length for length in wanted)
    if any(length < 1 for length in shape) or size(shape) != held or wanted.count(-1) > 1:
        raise does_not_fit(layer, graph.shapes[x])
    return graph.add(Reshape, (x,), shape)


def _nothing(layer: Layer, graph: Graph, x: Value) -> Value:
    """At work only while training."""
    layer.take_all()
    return x


def _rescaling(layer: Layer, graph: Graph, x: Value) -> Value:
    shape = graph.shapes[x]
    layer.take("offset", 0.0)
    scale = layer.numbers("scale")
    offset = layer.numbers("offset")
    channels = max(len(scale), len(offset))
    if channels > 1 and (not shape or shape[-1] != channels):
        raise does_not_fit(layer, shape)
    scale, offset = (np.broadcast_to(part, channels).copy() for part in (scale, offset))
    return graph.add(Affine, (x,), shape, scale=scale, offset=offset)


def _zero_padding2d(layer: Layer, graph: Graph, x: Value) -> Value:
    height, width, channels = graph.image(layer, x)
    rows, columns = layer.pairs("padding")
    shape = (height + sum(rows), width + sum(columns), channels)
    return graph.add(Pad, (x,), shape, rows=rows, columns=columns)


def _cropping2d(layer: Layer, graph: Graph, x: Value) -> Value:
    height, width, channels = graph.image(layer, x)
    rows, columns = layer.pairs("cropping")
    shape = (height - sum(rows), width - sum(columns), channels)
    if min(shape) < 1:
        raise does_not_fit(layer, graph.shapes[x])
    return graph.add(Crop, (x,), shape, top=rows[0], left=columns[0])


def _resized(layer: Layer, graph: Graph, x: Value, height: int, width: int) -> Value:
    interpolation = layer.take("interpolation", "bilinear")
    if interpolation not in ("bilinear", "nearest"):
        raise layer.unsupported(f"the interpolation {interpolation!r}")
    shape = (height, width, graph.image(layer, x)[2])
    return graph.add(Resize, (x,), shape, linear=interpolation == "bilinear")


def _resizing(layer: Layer, graph: Graph, x: Value) -> Value:
    layer.take("fill_mode"), layer.take("fill_value")  # of what is padded where the aspect ratio is kept
    return _resized(layer, graph, x, layer.whole("height"), layer.whole("width"))


def _up_sampling2d(layer: Layer, graph: Graph, x: Value) -> Value:
    height, width, _ = graph.image(layer, x)
    rows, columns = layer.pair("size", 2)
    return _resized(layer, graph, x, height * rows, width * columns)


TRAINING_ONLY = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "SpatialDropout1D",
    "SpatialDropout2D",
)
"""Layers that do nothing when a network reads."""
SHAPE_LAYERS: dict[str, Apply] = {
    "AveragePooling2D": _pool(largest=False),
    "Cropping2D": _cropping2d,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_pool(largest=False),
    "GlobalMaxPooling2D": _global_pool(largest=True),
    "MaxPooling2D": _pool(largest=True),
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Resizing": _resizing,
    "UpSampling2D": _up_sampling2d,
    "ZeroPadding2D": _zero_padding2d,
    **dict.fromkeys(TRAINING_ONLY, _nothing),
}
