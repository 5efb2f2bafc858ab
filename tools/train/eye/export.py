"""Write the trained eye as one `.tflite` file for every size of picture, its batch norms folded in.

Example: `Path("eye.tflite").write_bytes(export(network))`. The input is (1, height, width, 1) float32, -1 for
black to 1 for white; resize it before use (`resize_tensor_input`) to sides that are multiples of 32. Outputs,
at a quarter of that size, are told apart by their channels: ink 4 and centre 1, both 0 to 1, offset 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import nn

from models.importing.tflite_graph import TfliteGraph
from tools.train.eye.network import HEADS, STRIDE, Block, Eye, Merge, NormedConvolution

_Builtin = schema.BuiltinOperator
_Relu = schema.ActivationFunctionType.RELU
_SIZED = (1, 2)
"""The axes of a value that follow the picture's size."""


def export(network: Eye) -> bytes:
    """The network in its evaluation mode as the content of a `.tflite` file."""
    with torch.no_grad():
        return _Exporter().content_of(network)


class _Exporter:
    def __init__(self) -> None:
        self._graph = TfliteGraph()
        self._shapes: dict[int, tuple[int, int, int]] = {}

    def content_of(self, network: Eye) -> bytes:
        picture = self._value(STRIDE, STRIDE, 1)
        quarter = self._blocks(network.down4, self._convolution(network.stem, picture))
        eighth = self._blocks(network.down8, quarter)
        sixteenth = self._blocks(network.down16, eighth)
        y = self._merge(network.up16, self._blocks(network.down32, sixteenth), sixteenth)
        y = self._merge(network.up4, self._merge(network.up8, y, eighth), quarter)
        y = self._block(network.last, y)
        outputs = [self._head(name, network.heads[name], y) for name in HEADS]
        return self._graph.content([picture], outputs)

    def _value(self, height: int, width: int, channels: int) -> int:
        tensor = self._graph.value((1, height, width, channels), variable=_SIZED)
        self._shapes[tensor] = height, width, channels
        return tensor

    def _blocks(self, blocks: nn.Sequential, x: int) -> int:
        for block in blocks:
            x = self._block(block, x)
        return x

    def _block(self, block: Block, x: int) -> int:
        depthwise = _inside(block.depthwise)
        kernel, stride = depthwise.weight.numpy(), depthwise.stride[0]
        y = self._convolve(x, kernel, np.zeros(len(kernel), np.float32), stride, relu=False)
        y = self._convolution(block.pointwise, y, relu=not block.residual)
        return self._add(x, y) if block.residual else y

    def _merge(self, merge: Merge, coarse: int, fine: int) -> int:
        large = self._doubled(self._convolution(merge.narrow, coarse))
        return self._block(merge.mix, self._add(large, fine))

    def _convolution(self, module: NormedConvolution, x: int, relu: bool = False) -> int:
        norm = module.norm
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        convolution = _inside(module.convolution)
        kernel = (convolution.weight * gain[:, None, None, None]).numpy()
        bias = (norm.bias - norm.running_mean * gain).numpy()
        return self._convolve(x, kernel, bias, convolution.stride[0], relu or module.relu)

    def _convolve(
        self, x: int, kernel: NDArray[np.float32], bias: NDArray[np.float32], stride: int, relu: bool
    ) -> int:
        height, width, channels = self._shapes[x]
        depthwise = kernel.shape[1] == 1 < channels
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = _Relu if relu else schema.ActivationFunctionType.NONE
        if depthwise:
            options.depthMultiplier = 1
        layout = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        constants = [self._graph.constant(part) for part in (kernel.transpose(layout), bias)]
        output = self._value(height // stride, width // stride, len(bias))
        builtin = _Builtin.DEPTHWISE_CONV_2D if depthwise else _Builtin.CONV_2D
        self._graph.operator(builtin, [x, *constants], output, options)
        return output

    def _add(self, a: int, b: int) -> int:
        options: Any = schema.AddOptionsT()
        options.fusedActivationFunction = _Relu
        output = self._value(*self._shapes[a])
        self._graph.operator(_Builtin.ADD, [a, b], output, options)
        return output

    def _doubled(self, x: int) -> int:
        """Each pixel repeated to 2x2, without the constant shape that ResizeNearestNeighbor takes."""
        height, width, channels = self._shapes[x]
        together = schema.ConcatenationOptionsT()
        together.axis = 3
        four = self._value(height, width, 4 * channels)
        self._graph.operator(_Builtin.CONCATENATION, [x] * 4, four, together)
        options = schema.DepthToSpaceOptionsT()
        options.blockSize = 2
        output = self._value(2 * height, 2 * width, channels)
        self._graph.operator(_Builtin.DEPTH_TO_SPACE, [four], output, options)
        return output

    def _head(self, name: str, head: nn.Conv2d, x: int) -> int:
        y = self._convolve(x, head.weight.numpy(), head.bias.numpy(), 1, relu=False)
        if name == "offset":
            return y
        output = self._value(*self._shapes[y])
        self._graph.operator(_Builtin.LOGISTIC, [y], output)
        return output


def _inside(module: nn.Module) -> nn.Conv2d:
    """The convolution alone, where padding stands before it."""
    return module[-1] if isinstance(module, nn.Sequential) else module
