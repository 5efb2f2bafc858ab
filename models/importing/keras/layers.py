"""The layers the car knows, each as what it does to a value: the allow-list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from models.importing.keras.layer import MAX_PARAMETERS, Layer, size, too_complex
from models.importing.network import (
    Activate,
    Add,
    Affine,
    AtMost,
    Convolution,
    Dense,
    Function,
    GlobalPool,
    Operation,
    Pad,
    Pool,
    Reshape,
    Shape,
)
from models.refusal import Reason, Refusal

MAX_OPERATIONS = 1_000
MAX_VALUES = 8 << 20
"""Numbers between layers, of one picture, in all."""

Value = int


class Graph:
    """Operations as they are added, and the shape of every value."""

    def __init__(self, input_shape: Shape) -> None:
        self.shapes: list[Shape] = [input_shape]
        self.operations: list[Operation] = []
        self._parameters = self._numbers = 0

    def add(
        self, kind: Callable[..., Operation], inputs: tuple[Value, ...], shape: Shape, **what: Any
    ) -> Value:
        """A step that makes a value of `shape`; the value's number."""
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


def _does_not_fit(layer: Layer, shape: Shape) -> Refusal:
    return Refusal(
        Reason.BAD_CONFIG,
        f"Layer {layer.name!r} ({layer.kind}) can't take values of shape {shape}: it makes no sense.",
    )


def _image(layer: Layer, graph: Graph, x: Value) -> tuple[int, int, int]:
    shape = graph.shapes[x]
    if len(shape) != 3:
        raise _does_not_fit(layer, shape)
    return shape[0], shape[1], shape[2]


# --- activations


_SPELLINGS = {"swish": "silu", "softmax_v2": "softmax"}


def _activated(layer: Layer, graph: Graph, x: Value) -> Value:
    """What the layer's `activation` makes of x."""
    name = layer.take("activation")
    if name in (None, "linear"):
        return x
    if not isinstance(name, str):
        raise layer.unsupported("an activation that is not one of Keras's names")
    name = _SPELLINGS.get(name, name)
    if name == "leaky_relu":
        return _apply(layer, graph, x, name, 0.2)  # Keras 3's default for the name
    if name not in get_args(Function):
        raise layer.unsupported(f"the activation {name!r}")
    return _apply(layer, graph, x, name)


def _apply(layer: Layer, graph: Graph, x: Value, function: str, slope: float = 0.0) -> Value:
    shape = graph.shapes[x]
    return graph.add(Activate, (x,), shape, function=function, slope=slope)


def _activation(layer: Layer, graph: Graph, x: Value) -> Value:
    return _activated(layer, graph, x)


def _relu(layer: Layer, graph: Graph, x: Value) -> Value:
    if layer.number("threshold", 0.0):
        raise layer.unsupported("a threshold")
    slope = layer.number("negative_slope", 0.0)
    limit = layer.take("max_value")
    x = _apply(layer, graph, x, "leaky_relu" if slope else "relu", slope)
    if limit is None:
        return x
    return graph.add(AtMost, (x,), graph.shapes[x], limit=layer.number("max_value"))


def _leaky_relu(layer: Layer, graph: Graph, x: Value) -> Value:
    slopes = [layer.take(key) for key in ("negative_slope", "alpha")]  # Keras 3's name, Keras 2's
    key = "alpha" if slopes[0] is None else "negative_slope"
    return _apply(layer, graph, x, "leaky_relu", layer.number(key, 0.3))


def _softmax(layer: Layer, graph: Graph, x: Value) -> Value:
    axis = layer.take("axis", -1)
    if axis not in (-1, [-1], len(graph.shapes[x]), [len(graph.shapes[x])]):
        raise layer.unsupported(f"softmax over axis {axis!r}")
    return _apply(layer, graph, x, "softmax")


# --- layers with weights


def _bias(layer: Layer, count: int) -> Any:
    return layer.weight(count) if layer.flag("use_bias", True) else np.zeros(count, np.float32)


def _dense(layer: Layer, graph: Graph, x: Value) -> Value:
    shape = graph.shapes[x]
    if not shape:
        raise _does_not_fit(layer, shape)
    units = layer.whole("units")
    kernel = layer.weight(shape[-1], units)
    x = graph.add(Dense, (x,), (*shape[:-1], units), kernel=kernel, bias=_bias(layer, units))
    return _activated(layer, graph, x)


def _window(
    layer: Layer, shape: Shape, kernel: tuple[int, int], strides: tuple[int, int], same: bool
) -> tuple[int, int]:
    """Height and width of what a window leaves of an image."""
    if same:
        return -(-shape[0] // strides[0]), -(-shape[1] // strides[1])
    height, width = ((shape[axis] - kernel[axis]) // strides[axis] + 1 for axis in (0, 1))
    if height < 1 or width < 1:
        raise _does_not_fit(layer, shape)
    return height, width


def _convolved(layer: Layer, graph: Graph, x: Value, depthwise: bool, filters: int | None) -> Value:
    """A convolution without bias where `filters` is None and depthwise weights come first (separable)."""
    layer.channels_last()
    height, width, channels = _image(layer, graph, x)
    size_, strides = layer.pair("kernel_size"), layer.pair("strides", 1)
    dilation, same = layer.pair("dilation_rate", 1), layer.same_padding()
    if dilation != (1, 1) and strides != (1, 1):
        raise layer.unsupported("strides and dilation at once")
    reach = ((size_[0] - 1) * dilation[0] + 1, (size_[1] - 1) * dilation[1] + 1)
    rows, columns = _window(layer, (height, width), reach, strides, same)
    if depthwise:
        last = layer.whole("depth_multiplier", 1)
        made = channels * last
    else:
        assert filters is not None
        made = last = filters
    kernel = layer.weight(*size_, channels, last)
    separable = layer.kind == "SeparableConv2D"
    bias = np.zeros(made, np.float32) if separable else _bias(layer, made)
    return graph.add(
        Convolution,
        (x,),
        (rows, columns, made),
        kernel=kernel,
        bias=bias,
        strides=strides,
        dilation=dilation,
        same=same,
        depthwise=depthwise,
    )


def _conv2d(layer: Layer, graph: Graph, x: Value) -> Value:
    if layer.whole("groups", 1) != 1:
        raise layer.unsupported("convolution in groups")
    return _activated(layer, graph, _convolved(layer, graph, x, False, layer.whole("filters")))


def _depthwise_conv2d(layer: Layer, graph: Graph, x: Value) -> Value:
    layer.take("groups"), layer.take("filters")  # written by some versions, of no meaning here
    return _activated(layer, graph, _convolved(layer, graph, x, True, None))


def _separable_conv2d(layer: Layer, graph: Graph, x: Value) -> Value:
    if layer.whole("groups", 1) != 1:
        raise layer.unsupported("convolution in groups")
    x = _convolved(layer, graph, x, True, None)
    height, width, channels = _image(layer, graph, x)
    filters = layer.whole("filters")
    x = graph.add(
        Convolution,
        (x,),
        (height, width, filters),
        kernel=layer.weight(1, 1, channels, filters),
        bias=_bias(layer, filters),
        strides=(1, 1),
        dilation=(1, 1),
        same=False,
    )
    return _activated(layer, graph, x)


def _batch_normalization(layer: Layer, graph: Graph, x: Value) -> Value:
    shape = graph.shapes[x]
    axis = layer.take("axis", -1)
    if not shape or axis not in (-1, [-1], len(shape), [len(shape)]):
        raise layer.unsupported(f"normalising axis {axis!r}")
    channels = shape[-1]
    gamma = layer.weight(channels) if layer.flag("scale", True) else np.ones(channels, np.float32)
    beta = layer.weight(channels) if layer.flag("center", True) else np.zeros(channels, np.float32)
    mean, variance = layer.weight(channels).astype(np.float64), layer.weight(channels).astype(np.float64)
    if (variance < 0).any():
        raise Refusal(Reason.NOT_FINITE, f"Layer {layer.name!r} ({layer.kind}) has negative variances.")
    layer.take("momentum")
    epsilon = layer.number("epsilon", 1e-3)
    scale = gamma / np.sqrt(np.maximum(variance + epsilon, 1e-12))
    offset = beta - mean * scale
    return graph.add(Affine, (x,), shape, scale=scale.astype(np.float32), offset=offset.astype(np.float32))


# --- layers without


def _pool(largest: bool) -> Callable[[Layer, Graph, Value], Value]:
    def pool(layer: Layer, graph: Graph, x: Value) -> Value:
        layer.channels_last()
        height, width, channels = _image(layer, graph, x)
        window = layer.pair("pool_size", 2)
        strides = window if layer.take("strides") is None else layer.pair("strides")
        same = layer.same_padding()
        rows, columns = _window(layer, (height, width), window, strides, same)
        return graph.add(
            Pool, (x,), (rows, columns, channels), largest=largest, size=window, strides=strides, same=same
        )

    return pool


def _global_pool(largest: bool) -> Callable[[Layer, Graph, Value], Value]:
    def pool(layer: Layer, graph: Graph, x: Value) -> Value:
        layer.channels_last()
        channels = _image(layer, graph, x)[2]
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
        raise _does_not_fit(layer, graph.shapes[x])
    held, known = size(graph.shapes[x]), 1
    for length in wanted:
        known *= length if length != -1 else 1
    shape = tuple(held // known if length == -1 and known > 0 else length for length in wanted)
    if any(length < 1 for length in shape) or size(shape) != held or wanted.count(-1) > 1:
        raise _does_not_fit(layer, graph.shapes[x])
    return graph.add(Reshape, (x,), shape)


def _nothing(layer: Layer, graph: Graph, x: Value) -> Value:
    """At work only while training."""
    for key in ("rate", "seed", "noise_shape", "stddev"):
        layer.take(key)
    layer.channels_last()
    return x


def _rescaling(layer: Layer, graph: Graph, x: Value) -> Value:
    shape = graph.shapes[x]
    layer.take("offset", 0.0)
    scale = layer.numbers("scale")
    offset = layer.numbers("offset")
    channels = max(len(scale), len(offset))
    if channels > 1 and (not shape or shape[-1] != channels):
        raise _does_not_fit(layer, shape)
    scale, offset = (np.broadcast_to(part, channels).copy() for part in (scale, offset))
    return graph.add(Affine, (x,), shape, scale=scale, offset=offset)


def _zero_padding2d(layer: Layer, graph: Graph, x: Value) -> Value:
    layer.channels_last()
    height, width, channels = _image(layer, graph, x)
    rows, columns = layer.pairs("padding")
    shape = (height + sum(rows), width + sum(columns), channels)
    return graph.add(Pad, (x,), shape, rows=rows, columns=columns)


def add(layer: Layer, graph: Graph, values: list[Value]) -> Value:
    """The one layer of several inputs."""
    total = values[0]
    for value in values[1:]:
        if graph.shapes[value] != graph.shapes[total]:
            raise _does_not_fit(layer, graph.shapes[value])
        total = graph.add(Add, (total, value), graph.shapes[total])
    return total


LAYERS: dict[str, Callable[[Layer, Graph, Value], Value]] = {
    "Activation": _activation,
    "AveragePooling2D": _pool(largest=False),
    "BatchNormalization": _batch_normalization,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv2d,
    "Dropout": _nothing,
    "Flatten": _flatten,
    "GaussianDropout": _nothing,
    "GaussianNoise": _nothing,
    "GlobalAveragePooling2D": _global_pool(largest=False),
    "GlobalMaxPooling2D": _global_pool(largest=True),
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _pool(largest=True),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": _separable_conv2d,
    "Softmax": _softmax,
    "SpatialDropout2D": _nothing,
    "ZeroPadding2D": _zero_padding2d,
}
"""By the class's name in Keras. Beside them: InputLayer, and Add, which takes several inputs."""
KNOWN = sorted([*LAYERS, "Add", "InputLayer"])
