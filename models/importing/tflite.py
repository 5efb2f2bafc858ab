"""Write a network as `.tflite`, float32.

The batch is 1 in the file and may be resized. TensorFlow Lite's operators are Keras's, with the weights laid
out otherwise (https://ai.google.dev/edge/litert/models/convert, `tensorflow/lite/schema/schema.fbs`).
"""

from __future__ import annotations

from functools import singledispatchmethod

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.importing.network import (
    Activate,
    Affine,
    AtMost,
    Combine,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    GlobalPool,
    Network,
    Operation,
    Pad,
    ParametricRelu,
    Pool,
    Reshape,
    Resize,
)
from models.importing.tflite_graph import TfliteGraph

_SIMPLE = {
    "abs": schema.BuiltinOperator.ABS,
    "elu": schema.BuiltinOperator.ELU,
    "exp": schema.BuiltinOperator.EXP,
    "log": schema.BuiltinOperator.LOG,
    "log_softmax": schema.BuiltinOperator.LOG_SOFTMAX,
    "relu": schema.BuiltinOperator.RELU,
    "relu6": schema.BuiltinOperator.RELU6,
    "sigmoid": schema.BuiltinOperator.LOGISTIC,
    "tanh": schema.BuiltinOperator.TANH,
}
"""Functions that are an operator without options."""
_COMBINED = {
    "add": (schema.BuiltinOperator.ADD, schema.AddOptionsT),
    "subtract": (schema.BuiltinOperator.SUB, schema.SubOptionsT),
    "multiply": (schema.BuiltinOperator.MUL, schema.MulOptionsT),
    "divide": (schema.BuiltinOperator.DIV, schema.DivOptionsT),
    "maximum": (schema.BuiltinOperator.MAXIMUM, schema.MaximumMinimumOptionsT),
    "minimum": (schema.BuiltinOperator.MINIMUM, schema.MaximumMinimumOptionsT),
}


def write(network: Network) -> bytes:
    """The network as the content of a `.tflite` file."""
    return _Writer(network).network()


class _Writer(TfliteGraph):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network
        self._values = {0: self.value((1, *network.input_shape), "input")}

    def network(self) -> bytes:
        for operation in self._network.operations:
            self._write(operation)
        return self.content([self._values[0]], [self._values[self._network.output]])

    def _between(self, shape: tuple[int, ...]) -> int:
        return self.value((1, *shape))

    def _result(self, operation: Operation) -> int:
        tensor = self._between(self._network.shapes[operation.output])
        self._values[operation.output] = tensor
        return tensor

    # --- one method an operation

    @singledispatchmethod
    def _write(self, operation: Operation) -> None:
        raise TypeError(f"{type(operation).__name__} has no operator")

    @_write.register
    def _(self, operation: Dense) -> None:
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        x, *_ = (self._values[value] for value in operation.inputs)
        inputs = [x, self.constant(operation.kernel.T), self.constant(operation.bias)]
        self.operator(schema.BuiltinOperator.FULLY_CONNECTED, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Convolution) -> None:
        options = schema.DepthwiseConv2DOptionsT() if operation.depthwise else schema.Conv2DOptionsT()
        options.padding = _padding(operation.same)
        options.strideH, options.strideW = operation.strides
        options.dilationHFactor, options.dilationWFactor = operation.dilation
        height, width, channels, last = operation.kernel.shape
        if operation.depthwise:
            options.depthMultiplier = last
            builtin = schema.BuiltinOperator.DEPTHWISE_CONV_2D
            kernel = operation.kernel.reshape(1, height, width, channels * last)
        else:
            builtin = schema.BuiltinOperator.CONV_2D
            kernel = operation.kernel.transpose(3, 0, 1, 2)
        inputs = [self._values[operation.inputs[0]], self.constant(kernel), self.constant(operation.bias)]
        self.operator(builtin, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Pool) -> None:
        options = schema.Pool2DOptionsT()
        options.padding = _padding(operation.same)
        options.filterHeight, options.filterWidth = operation.size
        options.strideH, options.strideW = operation.strides
        operators = schema.BuiltinOperator
        builtin = operators.MAX_POOL_2D if operation.largest else operators.AVERAGE_POOL_2D
        self.operator(builtin, [self._values[operation.inputs[0]]], self._result(operation), options)

    @_write.register
    def _(self, operation: GlobalPool) -> None:
        options = schema.ReducerOptionsT()
        options.keepDims = operation.keep_axes
        builtin = schema.BuiltinOperator.REDUCE_MAX if operation.largest else schema.BuiltinOperator.MEAN
        inputs = [self._values[operation.inputs[0]], self.constant(np.array([1, 2], np.int32))]
        self.operator(builtin, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Reshape) -> None:
        options = schema.ReshapeOptionsT()
        options.newShape = np.array([-1, *self._network.shapes[operation.output]], np.int32)
        inputs = [self._values[operation.inputs[0]], self.constant(options.newShape)]
        self.operator(schema.BuiltinOperator.RESHAPE, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Activate) -> None:
        x = self._values[operation.inputs[0]]
        if operation.function == "softmax":
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
            self.operator(schema.BuiltinOperator.SOFTMAX, [x], self._result(operation), options)
        elif operation.function == "leaky_relu":
            leaky = schema.LeakyReluOptionsT()
            leaky.alpha = operation.slope
            self.operator(schema.BuiltinOperator.LEAKY_RELU, [x], self._result(operation), leaky)
        elif operation.function in ("gelu", "gelu_tanh"):
            gelu = schema.GeluOptionsT()
            gelu.approximate = operation.function == "gelu_tanh"
            self.operator(schema.BuiltinOperator.GELU, [x], self._result(operation), gelu)
        elif operation.function == "silu":
            gate = self._between(self._network.shapes[operation.inputs[0]])
            self.operator(schema.BuiltinOperator.LOGISTIC, [x], gate)
            self.operator(
                schema.BuiltinOperator.MUL, [x, gate], self._result(operation), schema.MulOptionsT()
            )
        else:
            self.operator(_SIMPLE[operation.function], [x], self._result(operation))

    @_write.register
    def _(self, operation: Affine) -> None:
        scaled = self._between(self._network.shapes[operation.inputs[0]])
        inputs = [self._values[operation.inputs[0]], self.constant(operation.scale)]
        self.operator(schema.BuiltinOperator.MUL, inputs, scaled, schema.MulOptionsT())
        inputs = [scaled, self.constant(operation.offset)]
        self.operator(schema.BuiltinOperator.ADD, inputs, self._result(operation), schema.AddOptionsT())

    @_write.register
    def _(self, operation: AtMost) -> None:
        limit = self.constant(np.array([operation.limit], np.float32))
        inputs = [self._values[operation.inputs[0]], limit]
        options = schema.MaximumMinimumOptionsT()
        self.operator(schema.BuiltinOperator.MINIMUM, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Pad) -> None:
        around = np.array([(0, 0), operation.rows, operation.columns, (0, 0)], np.int32)
        inputs = [self._values[operation.inputs[0]], self.constant(around)]
        self.operator(schema.BuiltinOperator.PAD, inputs, self._result(operation), schema.PadOptionsT())

    @_write.register
    def _(self, operation: Crop) -> None:
        height, width, channels = self._network.shapes[operation.output]
        begin = np.array([0, operation.top, operation.left, 0], np.int32)
        size = np.array([-1, height, width, channels], np.int32)
        inputs = [self._values[operation.inputs[0]], self.constant(begin), self.constant(size)]
        self.operator(schema.BuiltinOperator.SLICE, inputs, self._result(operation), schema.SliceOptionsT())

    @_write.register
    def _(self, operation: Resize) -> None:
        size = np.array(self._network.shapes[operation.output][:2], np.int32)
        inputs = [self._values[operation.inputs[0]], self.constant(size)]
        operators = schema.BuiltinOperator
        builtin = operators.RESIZE_BILINEAR if operation.linear else operators.RESIZE_NEAREST_NEIGHBOR
        options = (
            schema.ResizeBilinearOptionsT if operation.linear else schema.ResizeNearestNeighborOptionsT
        )()
        options.halfPixelCenters = True
        self.operator(builtin, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: ParametricRelu) -> None:
        inputs = [self._values[operation.inputs[0]], self.constant(operation.slopes)]
        self.operator(schema.BuiltinOperator.PRELU, inputs, self._result(operation))

    @_write.register
    def _(self, operation: Combine) -> None:
        inputs = [self._values[value] for value in operation.inputs]
        builtin, options = _COMBINED[operation.combination]
        self.operator(builtin, inputs, self._result(operation), options())

    @_write.register
    def _(self, operation: Concatenate) -> None:
        options = schema.ConcatenationOptionsT()
        options.axis = operation.axis + 1
        inputs = [self._values[value] for value in operation.inputs]
        self.operator(schema.BuiltinOperator.CONCATENATION, inputs, self._result(operation), options)


def _padding(same: bool) -> int:
    return int(schema.Padding.SAME if same else schema.Padding.VALID)
