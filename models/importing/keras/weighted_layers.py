"""Layers with weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from messages.errors import ErrorCode
from models.importing.keras.activations import activated
from models.importing.keras.graph import Apply, Graph, Value, does_not_fit, windows
from models.importing.keras.layer import Layer
from models.importing.network import Affine, Convolution, Dense, Weights
from models.refusal import Refusal


def _bias(layer: Layer, count: int) -> Any:
    return layer.weight(count) if layer.flag("use_bias", True) else np.zeros(count, np.float32)


def _dense(layer: Layer, graph: Graph, x: Value) -> Value:
    shape = graph.shapes[x]
    if not shape:
        raise does_not_fit(layer, shape)
    units = layer.whole("units")
    kernel = layer.weight(shape[-1], units)
    x = graph.add(Dense, (x,), (*shape[:-1], units), kernel=kernel, bias=_bias(layer, units))
    return activated(layer, graph, x)


def _convolved(layer: Layer, graph: Graph, x: Value, depthwise: bool, filters: int | None) -> Value:
    """A convolution without bias where `filters` is None and depthwise weights come first (separable)."""
    height, width, channels = graph.image(layer, x)
    size_, strides = layer.pair("kernel_size"), layer.pair("strides", 1)
    dilation, same = layer.pair("dilation_rate", 1), layer.same_padding()
    if dilation != (1, 1) and strides != (1, 1):
        raise layer.unsupported("strides and dilation at once")
    reach = ((size_[0] - 1) * dilation[0] + 1, (size_[1] - 1) * dilation[1] + 1)
    rows, columns = windows(layer, (height, width), reach, strides, same)
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
    return activated(layer, graph, _convolved(layer, graph, x, False, layer.whole("filters")))


def _depthwise_conv2d(layer: Layer, graph: Graph, x: Value) -> Value:
    layer.take("groups"), layer.take("filters")  # written by some versions, of no meaning here
    return activated(layer, graph, _convolved(layer, graph, x, True, None))


def _separable_conv2d(layer: Layer, graph: Graph, x: Value) -> Value:
    if layer.whole("groups", 1) != 1:
        raise layer.unsupported("convolution in groups")
    x = _convolved(layer, graph, x, True, None)
    height, width, channels = graph.image(layer, x)
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
    return activated(layer, graph, x)


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
        raise Refusal(ErrorCode.NOT_FINITE, f"Layer {layer.name!r} ({layer.kind}) has negative variances.")
    layer.take("momentum")
    epsilon = layer.number("epsilon", 1e-3)
    scale = gamma / np.sqrt(np.maximum(variance + epsilon, 1e-12))
    offset = beta - mean * scale
    return graph.add(Affine, (x,), shape, scale=scale.astype(np.float32), offset=offset.astype(np.float32))


def _normalization(layer: Layer, graph: Graph, x: Value) -> Value:
    """(x − mean) ÷ deviation of the axes kept; both were learned by `adapt`, or are settings."""
    shape = graph.shapes[x]
    axes = layer.take("axis", -1)
    axes = [] if axes is None else axes if isinstance(axes, list) else [axes]
    kept = {axis % (len(shape) + 1) for axis in axes if isinstance(axis, int) and abs(axis) <= len(shape)}
    if len(kept) != len(axes) or 0 in kept:
        raise layer.unsupported(f"normalising axes {axes!r}")
    if layer.flag("invert", False):
        raise layer.unsupported("inverting")
    spread = tuple(length if axis + 1 in kept else 1 for axis, length in enumerate(shape)) or (1,)
    if layer.take("mean") is not None:
        mean, variance = layer.numbers("mean"), layer.numbers("variance")
        if not {mean.size, variance.size} <= {1, shape[-1]}:
            raise does_not_fit(layer, shape)
    else:
        lengths = [length for axis, length in enumerate(shape) if axis + 1 in kept]
        mean, variance = (layer.weight(*lengths).reshape(spread) for _ in range(2))
        layer.drop_weight()  # how many digits were seen
    deviation: Weights = np.maximum(np.sqrt(np.maximum(variance, 0)), np.float32(1e-7))
    scale, offset = np.broadcast_arrays(1 / deviation, -mean / deviation)
    return graph.add(Affine, (x,), shape, scale=scale.copy(), offset=offset.copy())


WEIGHTED_LAYERS: dict[str, Apply] = {
    "BatchNormalization": _batch_normalization,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv2d,
    "Normalization": _normalization,
    "SeparableConv2D": _separable_conv2d,
}
