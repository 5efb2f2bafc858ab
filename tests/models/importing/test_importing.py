"""A model of the course's way becomes a bundle the car can read with: `.h5` in, digits out, no TensorFlow."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from models.bundle import archive
from models.bundle.bundle import Bundle
from models.importing import keras
from models.importing.isolated import import_file, intake, prove, source_digest
from models.importing.tflite import write
from models.inference.runtime import Classifier
from models.refusal import Refusal
from models.store import Store
from tests.models.making import FACTORY

FILES = Path(__file__).parent / "keras_files"


@pytest.fixture(scope="module")
def factory() -> Bundle:
    return Bundle.load(FACTORY)


@pytest.mark.parametrize(
    ("file", "kind", "output", "shape"),
    [
        ("course-keras3.h5", "h5", "probabilities", (784,)),
        ("convolutional-tf212.keras", "keras", "logits", (28, 28, 1)),
        ("everything-keras2.h5", "h5", "probabilities", (28, 28)),
    ],
)
def test_a_keras_file_becomes_a_bundle_that_reads(
    tmp_path: Path, factory: Bundle, file: str, kind: str, output: str, shape: tuple[int, ...]
) -> None:
    imported = import_file(FILES / file, tmp_path, golden=factory)
    manifest = imported.bundle.manifest
    assert manifest.input.shape == shape
    assert manifest.calibration.output == output
    assert manifest.imported is not None
    assert (manifest.imported.file, manifest.imported.format) == (file, kind)
    assert manifest.imported.sha256 == source_digest(FILES / file)
    assert manifest.imported.accuracy == imported.proof.accuracy > 0.5
    assert imported.bundle == Bundle.load(tmp_path)
    golden = imported.bundle.golden()
    found = Classifier(imported.bundle).classify(golden.crops)
    right = [
        manifest.labels[index] == label for index, label in zip(found.argmax(1), golden.labels, strict=True)
    ]
    assert np.mean(right) == imported.proof.accuracy


def test_the_same_file_gives_the_same_bundle(tmp_path: Path, factory: Bundle) -> None:
    digests = set()
    for name in "ab":
        (tmp_path / name).mkdir()
        digests.add(import_file(FILES / "course-tf24.h5", tmp_path / name, golden=factory).bundle.digest)
    assert len(digests) == 1


def test_a_tflite_of_unknown_origin_is_taken_the_same_way(tmp_path: Path, factory: Bundle) -> None:
    path = tmp_path / "mine.tflite"
    path.write_bytes(write(keras.read((FILES / "course-keras2.h5").read_bytes())))
    (tmp_path / "bundle").mkdir()
    bundle = import_file(path, tmp_path / "bundle", golden=factory).bundle
    assert bundle.model == path.read_bytes()
    assert bundle.manifest.name == "mine"


def test_confidence_is_fitted_to_the_cars_digits(tmp_path: Path, factory: Bundle) -> None:
    """What the bundle says of its golden digits is likelier than what the model said of them."""
    bundle = import_file(FILES / "everything-keras3.keras", tmp_path, golden=factory).bundle
    golden = bundle.golden()
    columns = [bundle.manifest.labels.index(label) for label in golden.labels]
    classifier = Classifier(bundle)
    rows = np.arange(len(columns))
    fitted = -np.log(classifier.classify(golden.crops)[rows, columns]).mean()
    plain = -np.log(np.maximum(classifier.answer(golden.crops)[rows, columns], 1e-12)).mean()
    assert fitted < plain


def test_an_imported_model_can_be_kept_and_proves_itself_again(tmp_path: Path, factory: Bundle) -> None:
    store = Store(tmp_path)
    with store.workspace() as folder:
        imported = import_file(FILES / "course-keras2.h5", folder, golden=factory)
        digest = store.add(imported.bundle)
    store.activate(digest)
    kept = Bundle.load(tmp_path / "active")
    assert kept.digest == imported.bundle.digest
    assert prove(kept).accuracy == imported.proof.accuracy
    store.close()


def test_what_a_file_is_does_not_hang_on_its_name(tmp_path: Path, factory: Bundle) -> None:
    path = tmp_path / "model_trained.h5"
    path.write_bytes(archive.pack(factory))
    assert intake(path) == "bundle"
    assert intake(FILES / "course-keras3.keras") == intake(FILES / "course-keras3.h5") == "model"


def test_a_name_in_another_encoding_is_no_obstacle(tmp_path: Path, factory: Bundle) -> None:
    path = tmp_path / os.fsdecode(b"mod\xe8le 2 \x1b[31m.h5")
    path.write_bytes((FILES / "course-keras2.h5").read_bytes())
    (tmp_path / "bundle").mkdir()
    manifest = import_file(path, tmp_path / "bundle", golden=factory).bundle.manifest
    assert manifest.name == "mod-le-2-31m"
    assert manifest.imported is not None
    assert manifest.imported.file == "mod�le 2 �[31m.h5"
    path.write_bytes(b"no model")
    with pytest.raises(Refusal, match=r"^mod�le 2 �"):
        import_file(path, tmp_path / "bundle", golden=factory)


def test_the_process_leaves_nothing_open_and_nobody_behind(tmp_path: Path, factory: Bundle) -> None:
    before = os.listdir("/proc/self/fd"), children()
    import_file(FILES / "course-tf24.h5", tmp_path, golden=factory)
    assert (os.listdir("/proc/self/fd"), children()) == before


def children() -> set[str]:
    """The processes that this one has started and not seen end."""
    return {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


def test_its_limits_are_its_own(tmp_path: Path, factory: Bundle) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_FSIZE)
    prove(factory)
    assert (resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_FSIZE)) == before
