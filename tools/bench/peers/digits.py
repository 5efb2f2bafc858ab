"""Five digits through one network, by several runtimes: a program for the environment of the others.

The network is the course's, from its Keras file: so small that what a runtime adds is most of the time.
Each runtime gets the same five digits as one batch of float32, uses one thread, and answers the same.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.importing.keras import saved
from models.importing.network import Activate, Dense, Network
from models.importing.tflite import write

KERAS_FILE = Path(__file__).parents[3] / "tests" / "models" / "importing" / "keras_files" / "course-keras3.h5"
ROUNDS = 300
TOLERANCE = 1e-4
Numbers = NDArray[Any]
Run = Callable[[Numbers], Numbers]


def litert(network: Network) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write(network), num_threads=1)
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], (5, 784))
    interpreter.allocate_tensors()

    def run(digits: Numbers) -> Numbers:
        interpreter.set_tensor(taken["index"], digits)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given["index"]))

    return run


def numpy_alone(network: Network) -> Run:
    functions: dict[str, Run] = {
        "relu": lambda x: np.maximum(x, 0),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    }

    def run(digits: Numbers) -> Numbers:
        for step in network.operations:
            if isinstance(step, Dense):
                digits = digits @ step.kernel + step.bias
            elif isinstance(step, Activate):
                digits = functions[step.function](digits)
        return digits

    return run


def onnx_model(network: Network) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    names = {"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}
    nodes, weights, value = [], [], "digits"
    for number, step in enumerate(network.operations):
        after = f"v{number}"
        if isinstance(step, Dense):
            pair = (step.kernel, f"k{number}"), (step.bias, f"b{number}")
            weights += [numpy_helper.from_array(np.ascontiguousarray(each), name) for each, name in pair]
            nodes.append(helper.make_node("Gemm", [value, f"k{number}", f"b{number}"], [after]))
        elif isinstance(step, Activate):
            nodes.append(helper.make_node(names[step.function], [value], [after]))
        value = after
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (5, size))
        for name, size in (("digits", 784), (value, 10))
    ]
    graph = helper.make_graph(nodes, "course", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def onnx_runtime(network: Network) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(network), options)
    return lambda digits: np.asarray(session.run(None, {"digits": digits})[0])


def opencv(network: Network) -> Run:
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_model(network), np.uint8))

    def run(digits: Numbers) -> Numbers:
        net.setInput(digits)
        return np.asarray(net.forward())

    return run


def keras(_: Network) -> Run:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    model = tensorflow.keras.models.load_model(KERAS_FILE, compile=False)
    return lambda digits: np.asarray(model(digits.reshape(-1, *model.input_shape[1:]), training=False))


RUNTIMES = {
    "LiteRT (what smartcar uses)": litert,
    "numpy": numpy_alone,
    "ONNX Runtime": onnx_runtime,
    "OpenCV's dnn": opencv,
    "Keras": keras,
}


def main() -> None:
    """Print, as JSON, milliseconds by runtime, or why one is left out; timed in turn, round by round."""
    network = saved.read(KERAS_FILE.read_bytes())
    digits = np.random.default_rng(0).random((5, 784), dtype=np.float32)
    right = numpy_alone(network)(digits)
    told: dict[str, Any] = {}
    runs: dict[str, Run] = {}
    for name, make in RUNTIMES.items():
        try:
            run = make(network)
            off = float(np.abs(run(digits).reshape(right.shape) - right).max())
            if off > TOLERANCE:
                raise ValueError(f"it answers otherwise, by {off:.2g}")
            runs[name] = run
        except Exception as error:
            told[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(digits)
            spent[name].append(time.perf_counter() - begin)
    told |= {name: statistics.median(times) * 1000 for name, times in spent.items()}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
