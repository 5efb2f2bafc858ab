"""The classifier: what it answers, whatever the batch, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from models.bundle.bundle import Bundle
from models.inference.runtime import Classifier, ModelError
from tests.models.making import FACTORY, rewritten
from tests.models.trap import failing_at_ink


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(FACTORY)


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    return Classifier(bundle)


def changed(folder: Path, change: Any = lambda manifest: None, model: bytes | None = None) -> Bundle:
    return Bundle.load(rewritten(folder, change, {"model.tflite": model} if model else None))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 13])
def test_a_digit_reads_the_same_alone_and_in_company(
    bundle: Bundle, classifier: Classifier, count: int
) -> None:
    crops = bundle.golden().crops[::20][:count]
    together = classifier.classify(crops)
    assert together.shape == (count, 10)
    assert together.dtype == np.float32
    alone = [classifier.classify(crop[None])[0] for crop in crops]
    np.testing.assert_allclose(together, np.reshape(alone, (-1, 10)), atol=1e-5)


def test_what_was_read_before_leaves_no_trace(bundle: Bundle, classifier: Classifier) -> None:
    crops = bundle.golden().crops
    first = classifier.classify(crops[:3])
    classifier.classify(crops[100:105])
    assert np.array_equal(classifier.classify(crops[:3]), first)


def test_rows_are_probabilities_even_of_nonsense(classifier: Classifier) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for crops in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        rows = classifier.classify(crops)
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_crops_need_not_lie_together_in_memory(bundle: Bundle, classifier: Classifier) -> None:
    crops = bundle.golden().crops[:8]
    scattered = np.repeat(crops, 2, axis=0)[::2]
    assert np.array_equal(classifier.classify(scattered), classifier.classify(crops))


def test_dark_on_light_is_turned_as_the_manifest_says(
    tmp_path: Path, bundle: Bundle, classifier: Classifier
) -> None:
    turned = Classifier(changed(tmp_path / "b", lambda m: m["input"].update(polarity="dark_on_light")))
    crops = bundle.golden().crops[:7]
    np.testing.assert_allclose(turned.classify(255 - crops), classifier.classify(crops), atol=1e-3)


def test_scale_and_offset_are_those_of_the_manifest(
    tmp_path: Path, bundle: Bundle, classifier: Classifier
) -> None:
    halved = Classifier(
        changed(tmp_path / "b", lambda m: m["input"].update(scale=m["input"]["scale"] * 2, offset=-1.0))
    )
    crops = bundle.golden().crops[:7]
    bright = (crops // 2 + 128).astype(np.uint8)  # 2 × bright / 255 − 1 is what crops / 255 is, nearly
    assert np.array_equal(halved.classify(bright).argmax(1), classifier.classify(crops).argmax(1))


def test_a_higher_temperature_is_less_sure_of_the_same(
    tmp_path: Path, bundle: Bundle, classifier: Classifier
) -> None:
    warm = Classifier(changed(tmp_path / "b", lambda m: m["calibration"].update(temperature=5.0)))
    crops = bundle.golden().crops[:30]
    before, after = classifier.classify(crops), warm.classify(crops)
    assert np.array_equal(before.argmax(1), after.argmax(1))
    assert after.max(1).mean() < before.max(1).mean()


@pytest.mark.parametrize("wrong", [np.zeros((28, 28), np.uint8), np.zeros((1, 28, 28), np.float32)])
def test_other_arrays_are_refused(classifier: Classifier, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="crops are"):
        classifier.classify(wrong)


@pytest.mark.parametrize("model", [b"no model at all", bytes(4096)], ids=["text", "zeros"])
def test_bytes_that_are_no_model(tmp_path: Path, model: bytes) -> None:
    with pytest.raises(ModelError, match="can't be run"):
        Classifier(changed(tmp_path / "b", model=model))


def test_a_model_with_another_input_than_its_manifest_says(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="manifest says"):
        Classifier(changed(tmp_path / "b", lambda m: m["input"].update(shape=[784])))


def test_a_model_with_other_labels_than_its_manifest_says(tmp_path: Path) -> None:
    golden = (FACTORY / "golden.npz").read_bytes()
    folder = rewritten(tmp_path / "b", lambda m: m.update(labels=m["labels"] + ["X"]), {"golden.npz": golden})
    with pytest.raises(ModelError, match="11"):
        Classifier(Bundle.load(folder))


def test_an_answer_that_is_not_finite_is_an_error_not_a_digit(tmp_path: Path, bundle: Bundle) -> None:
    broken = changed(tmp_path / "b", model=poisoned(bundle.model))
    with pytest.raises(ModelError, match="not finite"):
        Classifier(broken).classify(broken.golden().crops[:2])


def poisoned(model: bytes) -> bytes:
    """The same model with NaN for its biases."""
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    for tensor in content.subgraphs[0].tensors:
        held = content.buffers[tensor.buffer]
        if tensor.type == schema.TensorType.FLOAT32 and held.data is not None and len(tensor.shape) == 1:
            count = len(bytes(held.data)) // 4
            held.data = np.frombuffer(np.full(count, np.nan, np.float32).tobytes(), np.uint8)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_what_litert_raises_at_a_picture_is_the_models_failure(tmp_path: Path, bundle: Bundle) -> None:
    trap = changed(tmp_path / "trap", model=failing_at_ink(bundle.model, 1500))
    classifier = Classifier(trap)
    assert classifier.classify(bundle.golden().crops[:5]).shape == (5, 10)
    with pytest.raises(ModelError, match=r"failed at a picture: .*gather"):
        classifier.classify(np.full((5, 28, 28), 255, np.uint8))
