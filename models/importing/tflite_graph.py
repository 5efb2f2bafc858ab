"""Build a `.tflite` file of tensors and operators, with the schema that LiteRT's wheel ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_IDENTIFIER = b"TFL3"


class TfliteGraph:
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


def _code(builtin: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = min(builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    return code
