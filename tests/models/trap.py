"""A model that reads as the shipped one does, and at much ink fails in LiteRT itself: invoke raises."""

from __future__ import annotations

from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


def failing_at_ink(model: bytes, limit: int) -> bytes:
    """The `.tflite` with one more branch: an element of a row of `limit` is taken, counted by the ink.

    LiteRT refuses to take one beyond the end (GATHER), where the input's sum, of one to five crops, is more.
    """
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    graph = content.subgraphs[0]
    operators, types = schema.BuiltinOperator, schema.TensorType
    pixels = int(graph.inputs[0])

    def tensor(name: str, kind: int, data: NDArray[Any] | None = None) -> int:
        made = schema.TensorT()
        made.name, made.type, made.buffer = name, kind, 0
        made.shape = np.array([] if data is None else data.shape, np.int32)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            content.buffers.append(buffer)
            made.buffer = len(content.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, options: Any, kind: int) -> None:
        used, made = schema.OperatorCodeT(), schema.OperatorT()
        used.builtinCode, used.deprecatedBuiltinCode, used.version = code, min(code, 127), 1
        content.operatorCodes.append(used)
        made.opcodeIndex = len(content.operatorCodes) - 1
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        made.builtinOptions, made.builtinOptionsType = options, kind
        graph.operators.append(made)

    ink, place, taken = (
        tensor("ink", types.FLOAT32),
        tensor("place", types.INT32),
        tensor("taken", types.FLOAT32),
    )
    axes = tensor("axes", types.INT32, np.arange(len(graph.tensors[pixels].shape), dtype=np.int32))
    row = tensor("row", types.FLOAT32, np.zeros(limit, np.float32))
    kinds = schema.BuiltinOptions
    operator(operators.SUM, [pixels, axes], ink, schema.ReducerOptionsT(), kinds.ReducerOptions)
    cast = schema.CastOptionsT()
    cast.inDataType, cast.outDataType = types.FLOAT32, types.INT32
    operator(operators.CAST, [ink], place, cast, kinds.CastOptions)
    operator(operators.GATHER, [row, place], taken, schema.GatherOptionsT(), kinds.GatherOptions)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())
