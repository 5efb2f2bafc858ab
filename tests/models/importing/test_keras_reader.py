"""Keras files give Keras's own answers, without Keras. The files come from `make_keras_files.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.importing import keras
from models.importing.network import Network
from models.importing.tflite import write

FILES = Path(__file__).parent / "keras_files"
EXPECTED = {
    file: (expected["crops"], expected[file])
    for path in sorted(FILES.glob("expected-*.npz"))
    for expected in [np.load(path)]
    for file in expected.files
    if file != "crops"
}


def answers(network: Network, crops: np.ndarray) -> np.ndarray:
    """What LiteRT makes of the network as we write it, of all crops at once."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write(network), num_threads=1)
    entrance = interpreter.get_input_details()[0]["index"]
    shape = (len(crops), *network.input_shape)
    interpreter.resize_tensor_input(entrance, shape, strict=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entrance, (crops / np.float32(255)).reshape(shape))
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


@pytest.mark.parametrize("file", sorted(EXPECTED))
def test_the_same_class_and_within_1e_5_of_what_keras_answers(file: str) -> None:
    crops, expected = EXPECTED[file]
    found = answers(keras.read((FILES / file).read_bytes()), crops)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_files_of_every_keras_are_among_them() -> None:
    versions = {keras.read((FILES / file).read_bytes()).keras_version for file in EXPECTED}
    assert {version.split(".")[0] for version in versions if version} == {"2", "3"}
    assert {"2.4.0", "2.12.0"} <= versions


def test_the_suffix_says_nothing() -> None:
    """TensorFlow 2.4 to 2.11 wrote HDF5 whatever the file was called."""
    network = keras.read((FILES / "course-tf24.h5").read_bytes())
    assert network.input_shape == (784,)
    assert network.output_shape == (10,)
