"""Begin where a bundle stands: take its weights into a network that is to be trained further."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle.bundle import Bundle
from tools.train.network import RESIDUAL

Array = NDArray[np.float32]


def begin_from(model: Any, bundle: Bundle, pictures: Array) -> None:
    """Give a fresh network of `tools.train.network` the weights of a bundle that such a network became.

    Exporting folded batch normalisation into the filters; here it is unfolded on `pictures` (n, 28, 28, 1):
    each layer takes the statistics it has there, and a scale and shift that undo them, so that the answers
    stay the same. A residual step that the bundle lacks stays nothing. Raises ValueError for another network.
    """
    import keras

    *normalised, last = (layer for layer in model.layers if layer.weights)
    pairs = list(zip(normalised[::2], normalised[1::2], strict=True))
    held = list(weights(bundle.model))
    if len(held) <= len(pairs):
        pairs_held = [pair for pair in pairs if not pair[0].name.startswith(RESIDUAL)]
    else:
        pairs_held = pairs
    shapes = [tuple(layer.kernel.shape) for layer, _ in pairs_held] + [tuple(last.kernel.shape)]
    if [kernel.shape for kernel, _ in held] != shapes:
        raise ValueError(
            f"{bundle.manifest.name} {bundle.manifest.version} holds another network than is to be trained: "
            "give the width it was trained with, or begin from nothing."
        )
    for (filters, normalisation), (kernel, bias) in zip(pairs_held, held, strict=False):
        filters.set_weights([kernel])
        _, _, mean, variance = normalisation.get_weights()  # 0 and 1, as yet
        normalisation.set_weights([np.sqrt(variance + normalisation.epsilon), bias, mean, variance])
    last.set_weights(held[-1])
    entering = keras.Model(model.inputs, [normalisation.input for _, normalisation in pairs])
    seen = entering.predict(pictures, batch_size=500, verbose=0)
    for (_, normalisation), values in zip(pairs, seen, strict=True):
        gamma, beta, _, variance = normalisation.get_weights()
        scale = gamma / np.sqrt(variance + normalisation.epsilon)
        mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
        gamma = scale * np.sqrt(variance + normalisation.epsilon)
        normalisation.set_weights([gamma, beta + scale * mean, mean, variance])


def weights(model: bytes) -> Iterator[tuple[Array, Array]]:
    """(kernel, bias) of each layer of a `.tflite` file in the order they run, as Keras shapes them.

    8-bit kernels are multiplied by their scales.
    """
    from ai_edge_litert import schema_py_generated as schema

    read = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = read.subgraphs[0]
    operator = schema.BuiltinOperator
    to_keras = {
        operator.CONV_2D: (1, 2, 3, 0),
        operator.DEPTHWISE_CONV_2D: (1, 2, 3, 0),
        operator.FULLY_CONNECTED: (1, 0),
    }

    def values(index: int) -> Array:
        tensor = graph.tensors[index]
        content = np.asarray(read.buffers[tensor.buffer].data, np.uint8)
        if tensor.type == schema.TensorType.FLOAT32:
            return content.view(np.float32).reshape(tensor.shape)
        per_channel = [1] * len(tensor.shape)
        per_channel[tensor.quantization.quantizedDimension] = -1
        scale = np.asarray(tensor.quantization.scale, np.float32).reshape(per_channel)
        return content.view(np.int8).reshape(tensor.shape) * scale

    for step in graph.operators:
        code = read.operatorCodes[step.opcodeIndex]
        order = to_keras.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if order is not None:
            kernel = values(step.inputs[1]).transpose(order)
            yield np.ascontiguousarray(kernel), values(step.inputs[2])
