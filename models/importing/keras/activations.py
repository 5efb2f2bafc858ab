"""Keras's activations, by name and as layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.importing.keras.graph import Apply, Graph, Value, does_not_fit
from models.importing.keras.layer import Layer
from models.importing.network import Activate, Affine, AtMost, Combination, Combine, ParametricRelu

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al., 2017, "Self-Normalizing Neural Networks"."""
_SPELLINGS = {"swish": "silu", "softmax_v2": "softmax"}


def activated(layer: Layer, graph: Graph, x: Value) -> Value:
    """What the layer's setting `activation` makes of x: a function's name, or a layer of its own."""
    inner = layer.inner("activation")
    if inner is not None:
        if inner.kind not in ACTIVATION_LAYERS or inner.kind == "PReLU":
            raise layer.unsupported(f"the activation {inner.kind!r}")
        x = ACTIVATION_LAYERS[inner.kind](inner, graph, x)
        inner.finish()
        return x
    name = layer.take("activation")
    if name in (None, "linear"):
        return x
    if not isinstance(name, str):
        raise layer.unsupported("an activation that is not one of Keras's names")
    name = _SPELLINGS.get(name, name)
    if name not in ACTIVATIONS:
        raise layer.unsupported(f"the activation {name!r}")
    return ACTIVATIONS[name](graph, x)


def _function(function: str, slope: float = 0.0) -> Callable[[Graph, Value], Value]:
    def apply(graph: Graph, x: Value) -> Value:
        return graph.add(Activate, (x,), graph.shapes[x], function=function, slope=slope)

    return apply


def _scaled(graph: Graph, x: Value, scale: float, offset: float = 0.0) -> Value:
    parts = {"scale": np.array([scale], np.float32), "offset": np.array([offset], np.float32)}
    return graph.add(Affine, (x,), graph.shapes[x], **parts)


def _combined(graph: Graph, combination: Combination, x: Value, y: Value) -> Value:
    return graph.add(Combine, (x, y), graph.shapes[x], combination=combination)


def _selu(graph: Graph, x: Value) -> Value:
    """scale × (alpha × elu(x) + (1 − alpha) × relu(x)): above zero both are x."""
    below = _scaled(graph, _function("elu")(graph, x), _SELU_SCALE * _SELU_ALPHA)
    above = _scaled(graph, _function("relu")(graph, x), _SELU_SCALE * (1 - _SELU_ALPHA))
    return _combined(graph, "add", below, above)


def _softplus(graph: Graph, x: Value) -> Value:
    """log(1 + exp(x)) = relu(x) + log(1 + exp(−|x|)), which never overflows."""
    power = _function("exp")(graph, _scaled(graph, _function("abs")(graph, x), -1.0))
    rest = _function("log")(graph, _scaled(graph, power, 1.0, 1.0))
    return _combined(graph, "add", _function("relu")(graph, x), rest)


def _softsign(graph: Graph, x: Value) -> Value:
    """x ÷ (1 + |x|)."""
    return _combined(graph, "divide", x, _scaled(graph, _function("abs")(graph, x), 1.0, 1.0))


ACTIVATIONS: dict[str, Callable[[Graph, Value], Value]] = {
    "elu": _function("elu"),
    "exponential": _function("exp"),
    "gelu": _function("gelu"),
    "leaky_relu": _function("leaky_relu", 0.2),  # Keras 3's default for the name
    "log_softmax": _function("log_softmax"),
    "relu": _function("relu"),
    "relu6": _function("relu6"),
    "selu": _selu,
    "sigmoid": _function("sigmoid"),
    "silu": _function("silu"),
    "softmax": _function("softmax"),
    "softplus": _softplus,
    "softsign": _softsign,
    "tanh": _function("tanh"),
}
"""By the name that the setting `activation` has; beside them linear, which does nothing."""


# --- layers


def _relu(layer: Layer, graph: Graph, x: Value) -> Value:
    if layer.number("threshold", 0.0):
        raise layer.unsupported("a threshold")
    slope = layer.number("negative_slope", 0.0)
    limit = layer.take("max_value")
    x = _function("leaky_relu" if slope else "relu", slope)(graph, x)
    if limit is None:
        return x
    return graph.add(AtMost, (x,), graph.shapes[x], limit=layer.number("max_value"))


def _leaky_relu(layer: Layer, graph: Graph, x: Value) -> Value:
    slopes = [layer.take(key) for key in ("negative_slope", "alpha")]  # Keras 3's name, Keras 2's
    key = "alpha" if slopes[0] is None else "negative_slope"
    return _function("leaky_relu", layer.number(key, 0.3))(graph, x)


def _elu(layer: Layer, graph: Graph, x: Value) -> Value:
    if layer.number("alpha", 1.0) != 1.0:
        raise layer.unsupported("an alpha other than 1")
    return _function("elu")(graph, x)


def _prelu(layer: Layer, graph: Graph, x: Value) -> Value:
    shape = graph.shapes[x]
    shared = layer.take("shared_axes") or []
    if not isinstance(shared, list) or any(axis not in range(1, len(shape) + 1) for axis in shared):
        raise does_not_fit(layer, shape)
    slopes = layer.weight(*(1 if axis + 1 in shared else length for axis, length in enumerate(shape)))
    return graph.add(ParametricRelu, (x,), shape, slopes=slopes)


def _softmax(layer: Layer, graph: Graph, x: Value) -> Value:
    axis = layer.take("axis", -1)
    if axis not in (-1, [-1], len(graph.shapes[x]), [len(graph.shapes[x])]):
        raise layer.unsupported(f"softmax over axis {axis!r}")
    return _function("softmax")(graph, x)


ACTIVATION_LAYERS: dict[str, Apply] = {
    "Activation": activated,
    "ELU": _elu,
    "LeakyReLU": _leaky_relu,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Softmax": _softmax,
}
