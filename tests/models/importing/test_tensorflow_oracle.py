"""What today's TensorFlow converts and saves is taken. Needs TensorFlow: `make test-train`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from models.bundle.archive import read_archive
from models.bundle.bundle import Bundle
from models.importing.isolated import import_file
from models.refusal import Refusal
from tests.models.importing import make_tflite_files
from tests.models.importing.test_tflite_files import FILES, read_by, reads_well
from tests.models.making import FACTORY
from tools.model.making import Description, make

tensorflow: Any = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: make test-train")
NAMES = sorted(path.name for path in FILES.iterdir())
DESCRIPTION = Description("mine", "1.0.0", 1, "all", None, None)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as the converter of today writes them."""
    folder = tmp_path_factory.mktemp("converted")
    written = make_tflite_files.write(folder, tensorflow)
    assert sorted(path.name for path in written) == NAMES, "the committed samples are of the same ways"
    return folder


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as `model.export` writes it."""
    folder = tmp_path_factory.mktemp("saved") / "digits"
    make_tflite_files.trained(tensorflow)[0].export(str(folder), verbose=False)
    return folder


@pytest.mark.parametrize("file", NAMES)
def test_every_way_of_converting_is_read(file: str, converted: Path, tmp_path: Path) -> None:
    golden = read_by(converted / "float.tflite", tmp_path / "golden")
    (tmp_path / "bundle").mkdir()
    reads_well(converted / file, tmp_path / "bundle", golden)


def test_a_saved_model_is_refused_with_the_command_that_makes_a_bundle_of_it(
    saved_model: Path, tmp_path: Path
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", saved_model.parent))
    for given in (saved_model, packed):
        with pytest.raises(Refusal, match="smartcar model bundle") as refused:
            import_file(given, tmp_path, golden=Bundle.load(FACTORY))
        assert refused.value.reason == "other_format"


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_bundle_is_made_of_a_saved_model(is_packed: bool, saved_model: Path, tmp_path: Path) -> None:
    given = saved_model
    if is_packed:
        given = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", saved_model.parent))
    assert make(given, tmp_path / "digits.zip", DESCRIPTION, None, json=False) == 0
    assert read_archive(tmp_path / "digits.zip").manifest.golden.accuracy > 0.9


def test_a_bundle_is_made_of_a_keras_file_with_a_layer_that_the_car_does_not_know(tmp_path: Path) -> None:
    keras = tensorflow.keras
    trained, x = make_tflite_files.trained(tensorflow)
    *others, last = trained.layers
    model = keras.Sequential([keras.Input(x.shape[1:]), *others, keras.layers.RepeatVector(1), last])
    model = keras.Sequential([keras.Input(x.shape[1:]), model, keras.layers.Flatten()])
    model.save(str(tmp_path / "strange.keras"))
    with pytest.raises(Refusal, match="RepeatVector"):
        import_file(tmp_path / "strange.keras", tmp_path, golden=Bundle.load(FACTORY))
    assert make(tmp_path / "strange.keras", tmp_path / "digits.zip", DESCRIPTION, None, json=False) == 0
