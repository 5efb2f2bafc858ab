"""How a network wants its digits is found out on the golden ones, said, and kept to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from models.bundle.manifest import RANGES, InputContract
from models.importing import keras
from models.importing.convention import _candidates
from models.importing.isolated import import_file
from models.importing.network import Affine, Dense, Network, Operation, Reshape
from models.importing.tflite import write
from models.inference.input_preparation import Quantization, interpolation, margins
from models.inference.runtime import Classifier
from tests.models.importing.test_keras_reader import answers
from tests.models.making import labelled

FILES = Path(__file__).parents[1] / "importing" / "keras_files"


@pytest.fixture(scope="module")
def course() -> Network:
    """Takes (784,) in the usual way: bright ink, 0 to 1, labels 0 to 9."""
    return keras.read((FILES / "course-keras3.h5").read_bytes())


@pytest.fixture(scope="module")
def factory(course: Network, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its golden digits are labelled as the network itself reads them in its own way."""
    folder = tmp_path_factory.mktemp("golden") / "bundle"
    return labelled(folder, lambda crops: answers(course, crops).argmax(axis=1))


def before(
    network: Network, shape: tuple[int, ...], operation: type[Operation], **what: np.ndarray
) -> Network:
    """The network with an input of `shape`, which an operation makes into what it took."""
    moved = [
        replace(each, inputs=tuple(value + 1 for value in each.inputs), output=each.output + 1)
        for each in network.operations
    ]
    first = operation(inputs=(0,), output=1, **what)
    return replace(
        network,
        shapes=(shape, *network.shapes),
        operations=(first, *moved),
        output=network.output + 1,
    )


def rescaled(network: Network, scale: float, offset: float) -> Network:
    """Takes values of which scale × value + offset is the usual input."""
    parts = {"scale": np.array([scale], np.float32), "offset": np.array([offset], np.float32)}
    return before(network, network.input_shape, Affine, **parts)


def sized(network: Network, side: int, *, padded: bool) -> Network:
    """Takes pictures of side × side, the usual ones made larger in one of two ways."""
    weights = (margins if padded else interpolation)(28, side).astype(np.float64)
    back = np.kron(np.linalg.pinv(weights), np.linalg.pinv(weights)).T.astype(np.float32)
    flat = before(network, (side * side,), Dense, kernel=back, bias=np.zeros(784, np.float32))
    return before(flat, (side, side, 1), Reshape)


def reordered(network: Network, order: str) -> Network:
    """Answers for the labels in another order."""
    columns = [int(label) for label in order]
    *others, last, softmax = network.operations
    assert isinstance(last, Dense)
    moved = replace(last, kernel=last.kernel[:, columns], bias=last.bias[columns])
    return replace(network, operations=(*others, moved, softmax))


def imported(network: Network, folder: Path, factory: Bundle) -> Bundle:
    (folder / "mine.tflite").write_bytes(write(network))
    (folder / "bundle").mkdir()
    return import_file(folder / "mine.tflite", folder / "bundle", golden=factory).bundle


def readings(bundle: Bundle) -> list[str]:
    classifier = Classifier(bundle)
    found = classifier.classify(bundle.golden().crops).argmax(axis=1)
    return [classifier.labels[column] for column in found]


@pytest.mark.parametrize(
    ("scale", "offset", "words"),
    [
        (1, 0, ()),
        (-1, 1, ("dark ink on light ground",)),
        (1 / 255, 0, ("values of 0 to 255",)),
        (-1 / 255, 1, ("dark ink on light ground", "values of 0 to 255")),
        (0.5, 0.5, ("values of −1 to 1",)),
        (-0.5, 0.5, ("dark ink on light ground", "values of −1 to 1")),
        (0.3081, 0.1307, ("values of MNIST's mean 0, deviation 1",)),
    ],
)
def test_the_way_it_wants_its_digits_is_found_out(
    scale: float, offset: float, words: tuple[str, ...], course: Network, tmp_path: Path, factory: Bundle
) -> None:
    bundle = imported(rescaled(course, scale, offset), tmp_path, factory)
    assert bundle.manifest.peculiarities == words
    (tmp_path / "usual").mkdir()
    usual = imported(course, tmp_path / "usual", factory)
    agree = np.mean([a == b for a, b in zip(readings(bundle), readings(usual), strict=True)])
    assert agree > 0.99


@pytest.mark.parametrize("order", ["1234567890", "8549176320", "0123456798"])
def test_another_order_of_labels_is_found_out(
    order: str, course: Network, tmp_path: Path, factory: Bundle
) -> None:
    """As 1 to 9 and 0, by the English words' alphabet, or two of them swapped."""
    bundle = imported(reordered(course, order), tmp_path, factory)
    assert "".join(bundle.manifest.labels) == order
    assert bundle.manifest.peculiarities == (f"labels in the order {' '.join(order)}",)
    golden = bundle.golden()
    assert np.mean([a == b for a, b in zip(readings(bundle), golden.labels, strict=True)]) > 0.9


@pytest.mark.parametrize("padded", [True, False])
def test_larger_pictures_are_padded_or_resized(
    padded: bool, course: Network, tmp_path: Path, factory: Bundle
) -> None:
    bundle = imported(sized(course, 40, padded=padded), tmp_path, factory)
    assert bundle.manifest.input.fit == ("padded" if padded else "resized")
    assert bundle.manifest.input.shape == (40, 40, 1)
    assert bundle.manifest.peculiarities == (f"pictures of 40×40, {bundle.manifest.input.fit}",)


def test_several_at_once_are_found_out(course: Network, tmp_path: Path, factory: Bundle) -> None:
    bundle = imported(rescaled(reordered(course, "1234567890"), -1 / 255, 1), tmp_path, factory)
    assert len(bundle.manifest.peculiarities) == 3


def test_weights_of_an_interpolation_keep_flat_ground_flat() -> None:
    for target in (8, 16, 27, 28, 29, 32, 224):
        assert np.allclose(interpolation(28, target).sum(axis=1), 1)
    assert np.array_equal(interpolation(28, 28), np.eye(28))
    assert np.array_equal(margins(28, 32), np.pad(np.eye(28), ((2, 2), (0, 0))))


@pytest.mark.parametrize(
    ("scale", "zero_point", "ranges"),
    [
        (1 / 255, 0, {(1 / 255, 0.0)}),
        (2 / 255, 128, {(2 / 255, -1.0)}),
        (0, 0, {(1.0, 0.0)}),
        (3.0, 0, set(RANGES.values())),
    ],
)
def test_integers_say_by_themselves_which_values_they_stand_for(
    scale: float, zero_point: int, ranges: set[tuple[float, float]]
) -> None:
    """Only where no usual range fits, all are tried."""
    quantization = Quantization(np.uint8, scale, zero_point)
    least, largest = quantization.real(np.array(quantization.limits))
    tried = _candidates(InputContract(dtype="uint8"), (float(least), float(largest)))
    assert {(each.scale, each.offset) for each in tried} == ranges
