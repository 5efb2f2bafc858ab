"""A `.tflite` file written by hand: several outputs, and sizes that may change."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from models.importing.tflite_graph import TfliteGraph


@pytest.mark.parametrize(("height", "width"), [(2, 2), (6, 10)])
def test_a_graph_gives_each_output_at_the_size_of_its_input(height: int, width: int) -> None:
    graph = TfliteGraph()
    x = graph.value((1, 2, 2, 4), "input", variable=(1, 2))
    bent = graph.value((1, 2, 2, 4), variable=(1, 2))
    graph.operator(schema.BuiltinOperator.LOGISTIC, [x], bent)
    options = schema.DepthToSpaceOptionsT()
    options.blockSize = 2
    spread = graph.value((1, 4, 4, 1), variable=(1, 2))
    graph.operator(schema.BuiltinOperator.DEPTH_TO_SPACE, [x], spread, options)

    interpreter = Interpreter(model_content=graph.content([x], [bent, spread]), num_threads=1)
    (taken,) = interpreter.get_input_details()
    assert taken["shape_signature"].tolist() == [1, -1, -1, 4]
    interpreter.resize_tensor_input(taken["index"], (1, height, width, 4))
    interpreter.allocate_tensors()
    values = np.random.default_rng(0).normal(size=(1, height, width, 4)).astype(np.float32)
    interpreter.set_tensor(taken["index"], values)
    interpreter.invoke()
    first, second = (interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details())
    np.testing.assert_allclose(first, 1 / (1 + np.exp(-values)), atol=1e-6)
    blocks = values.reshape(height, width, 2, 2).transpose(0, 2, 1, 3).reshape(1, 2 * height, 2 * width, 1)
    np.testing.assert_array_equal(second, blocks)
