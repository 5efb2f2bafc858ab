"""`.tflite` files as TensorFlow's converter writes them are read. They come from `make_tflite_files.py`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from models.bundle.bundle import Bundle
from models.bundle.manifest import GoldenTerms
from models.importing.conversion import KerasSource, convert
from models.importing.isolated import import_file
from models.importing.tflite_graph import TfliteGraph
from models.inference.runtime import Classifier
from models.refusal import Refusal
from tests.models.making import labelled

FILES = Path(__file__).parent / "tflite_files"
INTEGERS = {"integer_uint8": "uint8", "integer_int8": "int8"}


def read_by(path: Path, folder: Path) -> Bundle:
    """The shipped bundle, its golden digits labelled as the float network in the file reads them."""

    def label(crops: np.ndarray) -> np.ndarray:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        entrance, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        interpreter.resize_tensor_input(entrance["index"], (len(crops), 28, 28, 1))
        interpreter.allocate_tensors()
        interpreter.set_tensor(entrance["index"], (crops / np.float32(255))[..., None])
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(exit_["index"]).argmax(axis=1))

    return labelled(folder, label)


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_by(FILES / "float.tflite", tmp_path_factory.mktemp("golden") / "bundle")


def reads_well(path: Path, folder: Path, factory: Bundle) -> Bundle:
    """The bundle that the file makes; alone and in company it reads the same, and nearly all."""
    imported = import_file(path, folder, golden=factory)
    assert imported.proof.accuracy > 0.95
    assert imported.bundle.model == path.read_bytes()
    classifier, golden = Classifier(imported.bundle), factory.golden()
    crops = golden.crops[::25]
    together = classifier.classify(crops)
    alone = np.concatenate([classifier.classify(crop[None]) for crop in crops])
    np.testing.assert_allclose(together, alone, atol=0.02)
    assert imported.bundle.manifest.calibration.output == "probabilities"
    rounded = path.stem in INTEGERS or path.stem == "integer"
    assert imported.bundle.manifest.calibration.least == (1 / 512 if rounded else 1e-12)
    assert imported.bundle.manifest.input.dtype == INTEGERS.get(path.stem, "float32")
    return imported.bundle


@pytest.mark.parametrize("file", sorted(path.name for path in FILES.iterdir()))
def test_every_way_of_converting_is_read(file: str, tmp_path: Path, factory: Bundle) -> None:
    reads_well(FILES / file, tmp_path, factory)


def network(shape: tuple[int, ...], answer: tuple[int, ...] = (1, 10), outputs: int = 1) -> bytes:
    """A file that takes one value of `shape`, whose batch is fixed, and answers its first numbers."""
    graph = TfliteGraph()
    x = graph.value(shape, "input", variable=())
    size = int(np.prod(shape))
    flat = graph.value((1, size), variable=())
    options = schema.ReshapeOptionsT()
    options.newShape = np.array([1, size], np.int32)
    graph.operator(schema.BuiltinOperator.RESHAPE, [x, graph.constant(options.newShape)], flat, options)
    given = []
    for _ in range(outputs):
        row = graph.value((1, int(np.prod(answer))), variable=())
        kernel = np.zeros((int(np.prod(answer)), size), np.float32)
        graph.operator(
            schema.BuiltinOperator.FULLY_CONNECTED,
            [flat, graph.constant(kernel), graph.constant(np.zeros(len(kernel), np.float32))],
            row,
            schema.FullyConnectedOptionsT(),
        )
        given.append(row)
    return graph.content([x], given)


@pytest.mark.parametrize(
    ("shape", "digit"),
    [
        ((1, 28, 28), (28, 28)),
        ((1, 28, 28, 1), (28, 28, 1)),
        ((1, 1, 28, 28), (1, 28, 28)),
        ((1, 784), (784,)),
        ((28, 28), (28, 28)),
        ((784,), (784,)),
        ((1, 32, 32, 1), (32, 32, 1)),
        ((1, 64, 64), (64, 64)),
        ((1, 28, 28, 3), (28, 28, 3)),
        ((1, 3, 16, 16), (3, 16, 16)),
        ((1, 1024), (1024,)),
    ],
)
def test_every_shape_of_a_picture_is_understood(
    shape: tuple[int, ...], digit: tuple[int, ...], factory: Bundle
) -> None:
    source = KerasSource("blind.tflite", network(shape), datetime(2026, 1, 1, tzinfo=UTC))
    terms = GoldenTerms(accuracy=0.0, latency_ms=1000.0)  # its weights are zeros
    files, _ = convert(source, factory.golden_bytes, factory.golden(), factory.manifest.labels, terms)
    assert tuple(json.loads(files["manifest.json"])["input"]["shape"]) == digit


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (network((1, 13)), "wrong_input", r"takes float32 \(1, 13\)"),
        (network((1, 512, 512, 1)), "wrong_input", "another size"),
        (network((1, 64, 48)), "wrong_input", "another size"),
        (network((1, 28, 28, 2)), "wrong_input", "another size"),
        (network((200, 28, 28)), "wrong_input", "batch of 1"),
        (network((1, 784), (1, 11)), "wrong_output", r"\(1, 11\)"),
        (network((1, 784), (1, 1)), "wrong_output", r"\(1, 1\)"),
        (network((1, 784), outputs=2), "wrong_output", "2 outputs"),
    ],
)
def test_what_is_no_digit_model_is_refused(
    content: bytes, reason: str, says: str, tmp_path: Path, factory: Bundle
) -> None:
    (tmp_path / "other.tflite").write_bytes(content)
    with pytest.raises(Refusal, match=says) as refused:
        import_file(tmp_path / "other.tflite", tmp_path, golden=factory)
    assert refused.value.reason == reason
