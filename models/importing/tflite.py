"""Write a network as `.tflite`, float32, with the schema that LiteRT's wheel ships.

The batch is 1 in the file and may be resized. TensorFlow Lite's operators are Keras's, with the weights laid
out otherwise (https://ai.google.dev/edge/litert/models/convert, `tensorflow/lite/schema/schema.fbs`).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    return _Writer(network).network()


class Graph:
    """The tensors and operators of a `.tflite` file under construction, float32, batch first.

    Example: `x = graph.value((1, 28, 28, 1), "input")`, operators from there, `graph.content([x], [y])`.
    """

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first is empty by convention: no content
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file, which takes and gives these tensors."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        model = schema.ModelT()
        model.version, model.description = 3, "smartcar"
        model.buffers, model.subgraphs = self._buffers, [graph]
        model.operatorCodes = [_code(builtin) for builtin in self._codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def value(self, shape: tuple[int, ...], name: str = "", variable: Sequence[int] = (0,)) -> int:
        """A new tensor that is computed; its `variable` axes may be resized."""
        tensor = self._tensor(shape, name or f"value_{len(self._tensors)}")
        signature = [-1 if axis in variable else size for axis, size in enumerate(shape)]
        self._tensors[tensor].shapeSignature = np.array(signature, np.int32)
        return tensor

    def constant(self, content: NDArray[Any]) -> int:
        """A new tensor with this content, int32 or float32."""
        number = self._tensor(content.shape, f"constant_{len(self._tensors)}")
        if content.dtype == np.int32:
            self._tensors[number].type = schema.TensorType.INT32
        held = schema.BufferT()
        held.data = np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)
        self._buffers.append(held)
        self._tensors[number].buffer = len(self._buffers) - 1
        return number

    def operator(self, builtin: int, inputs: Sequence[int], output: int, options: Any = None) -> None:
        """Compute the tensor `output` from `inputs` by a builtin operator of the schema."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(builtin, len(self._codes))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self._operators.append(operator)

    def _tensor(self, shape: tuple[int, ...], name: str) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.buffer = name, 0
        tensor.shape = np.array(shape, np.int32)
        tensor.type = schema.TensorType.FLOAT32
        self._tensors.append(tensor)
        return len(self._tensors) - 1


class _Writer(Graph):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network
        self._values = {0: self.value((1, *network.input_shape), "input")}

    def network(self) -> bytes:
        """The network as a file."""
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
    def _(self, operation: Add) -> None:
        inputs = [self._values[value] for value in operation.inputs]
        self.operator(schema.BuiltinOperator.ADD, inputs, self._result(operation), schema.AddOptionsT())


def _code(builtin: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = min(builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    return code


def _padding(same: bool) -> int:
    return int(schema.Padding.SAME if same else schema.Padding.VALID)
