"""Write a network as `.tflite`, float32, with the schema that LiteRT's wheel ships.

The batch is 1 in the file and may be resized. TensorFlow Lite's operators are Keras's, with the weights laid
out otherwise (https://ai.google.dev/edge/litert/models/convert, `tensorflow/lite/schema/schema.fbs`).
"""

from __future__ import annotations

from functools import singledispatchmethod
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.importing.network import (
    Activate,
    Add,
    Affine,
    AtMost,
    Convolution,
    Dense,
    GlobalPool,
    Network,
    Operation,
    Pad,
    Pool,
    Reshape,
)

_IDENTIFIER = b"TFL3"
_SIMPLE = {
    "relu": schema.BuiltinOperator.RELU,
    "relu6": schema.BuiltinOperator.RELU6,
    "elu": schema.BuiltinOperator.ELU,
    "sigmoid": schema.BuiltinOperator.LOGISTIC,
    "tanh": schema.BuiltinOperator.TANH,
}
"""Functions that are an operator without options."""


def write(network: Network) -> bytes:
    """The network as the content of a `.tflite` file."""
    return _Writer(network).content()


class _Writer:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first is empty by convention: no content
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}
        self._values = {0: self._tensor((1, *network.input_shape), "input", batch=True)}

    def content(self) -> bytes:
        """The file."""
        for operation in self._network.operations:
            self._write(operation)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs = np.array([self._values[0]], np.int32)
        graph.outputs = np.array([self._values[self._network.output]], np.int32)
        model = schema.ModelT()
        model.version, model.description = 3, "smartcar"
        model.buffers, model.subgraphs = self._buffers, [graph]
        model.operatorCodes = [_code(builtin) for builtin in self._codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    # --- tensors and operators

    def _tensor(
        self, shape: tuple[int, ...], name: str, content: NDArray[Any] | None = None, batch: bool = False
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.buffer = name, 0
        tensor.shape = np.array(shape, np.int32)
        tensor.type = schema.TensorType.FLOAT32
        if batch:
            tensor.shapeSignature = np.array((-1, *shape[1:]), np.int32)
        if content is not None:
            if content.dtype == np.int32:
                tensor.type = schema.TensorType.INT32
            held = schema.BufferT()
            held.data = np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)
            self._buffers.append(held)
            tensor.buffer = len(self._buffers) - 1
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _constant(self, content: NDArray[Any]) -> int:
        return self._tensor(content.shape, f"constant_{len(self._tensors)}", content)

    def _between(self, shape: tuple[int, ...]) -> int:
        return self._tensor((1, *shape), f"value_{len(self._tensors)}", batch=True)

    def _result(self, operation: Operation) -> int:
        tensor = self._between(self._network.shapes[operation.output])
        self._values[operation.output] = tensor
        return tensor

    def _operator(self, builtin: int, inputs: list[int], output: int, options: Any = None) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(builtin, len(self._codes))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self._operators.append(operator)

    # --- one method an operation

    @singledispatchmethod
    def _write(self, operation: Operation) -> None:
        raise TypeError(f"{type(operation).__name__} has no operator")

    @_write.register
    def _(self, operation: Dense) -> None:
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        x, *_ = (self._values[value] for value in operation.inputs)
        inputs = [x, self._constant(operation.kernel.T), self._constant(operation.bias)]
        self._operator(schema.BuiltinOperator.FULLY_CONNECTED, inputs, self._result(operation), options)

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
        inputs = [self._values[operation.inputs[0]], self._constant(kernel), self._constant(operation.bias)]
        self._operator(builtin, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Pool) -> None:
        options = schema.Pool2DOptionsT()
        options.padding = _padding(operation.same)
        options.filterHeight, options.filterWidth = operation.size
        options.strideH, options.strideW = operation.strides
        operators = schema.BuiltinOperator
        builtin = operators.MAX_POOL_2D if operation.largest else operators.AVERAGE_POOL_2D
        self._operator(builtin, [self._values[operation.inputs[0]]], self._result(operation), options)

    @_write.register
    def _(self, operation: GlobalPool) -> None:
        options = schema.ReducerOptionsT()
        options.keepDims = operation.keep_axes
        builtin = schema.BuiltinOperator.REDUCE_MAX if operation.largest else schema.BuiltinOperator.MEAN
        inputs = [self._values[operation.inputs[0]], self._constant(np.array([1, 2], np.int32))]
        self._operator(builtin, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Reshape) -> None:
        options = schema.ReshapeOptionsT()
        options.newShape = np.array([-1, *self._network.shapes[operation.output]], np.int32)
        inputs = [self._values[operation.inputs[0]], self._constant(options.newShape)]
        self._operator(schema.BuiltinOperator.RESHAPE, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Activate) -> None:
        x = self._values[operation.inputs[0]]
        if operation.function == "softmax":
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
            self._operator(schema.BuiltinOperator.SOFTMAX, [x], self._result(operation), options)
        elif operation.function == "leaky_relu":
            leaky = schema.LeakyReluOptionsT()
            leaky.alpha = operation.slope
            self._operator(schema.BuiltinOperator.LEAKY_RELU, [x], self._result(operation), leaky)
        elif operation.function == "silu":
            gate = self._between(self._network.shapes[operation.inputs[0]])
            self._operator(schema.BuiltinOperator.LOGISTIC, [x], gate)
            self._operator(
                schema.BuiltinOperator.MUL, [x, gate], self._result(operation), schema.MulOptionsT()
            )
        else:
            self._operator(_SIMPLE[operation.function], [x], self._result(operation))

    @_write.register
    def _(self, operation: Affine) -> None:
        scaled = self._between(self._network.shapes[operation.inputs[0]])
        inputs = [self._values[operation.inputs[0]], self._constant(operation.scale)]
        self._operator(schema.BuiltinOperator.MUL, inputs, scaled, schema.MulOptionsT())
        inputs = [scaled, self._constant(operation.offset)]
        self._operator(schema.BuiltinOperator.ADD, inputs, self._result(operation), schema.AddOptionsT())

    @_write.register
    def _(self, operation: AtMost) -> None:
        limit = self._constant(np.array([operation.limit], np.float32))
        inputs = [self._values[operation.inputs[0]], limit]
        options = schema.MaximumMinimumOptionsT()
        self._operator(schema.BuiltinOperator.MINIMUM, inputs, self._result(operation), options)

    @_write.register
    def _(self, operation: Pad) -> None:
        around = np.array([(0, 0), operation.rows, operation.columns, (0, 0)], np.int32)
        inputs = [self._values[operation.inputs[0]], self._constant(around)]
        self._operator(schema.BuiltinOperator.PAD, inputs, self._result(operation), schema.PadOptionsT())

    @_write.register
    def _(self, operation: Add) -> None:
        inputs = [self._values[value] for value in operation.inputs]
        self._operator(schema.BuiltinOperator.ADD, inputs, self._result(operation), schema.AddOptionsT())


def _code(builtin: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = min(builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    return code


def _padding(same: bool) -> int:
    return int(schema.Padding.SAME if same else schema.Padding.VALID)
