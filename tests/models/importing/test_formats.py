"""A model file of another program is named for what it is, with what to do; its name says nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from models.importing import keras
from models.importing.formats import model_format
from models.importing.isolated import import_file
from models.refusal import Refusal
from tests.models.making import FACTORY

FILES = Path(__file__).parent


def zipped(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return held.getvalue()


def of(kind: str) -> bytes:
    """As much of a file as tells what it is."""
    coral = bytearray((FILES / "tflite_files" / "float.tflite").read_bytes())
    safetensors = json.dumps({"fc.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    made = {
        "SavedModel's zip": zipped("digits/saved_model.pb", "digits/variables/variables.index"),
        "saved_model.pb": b"\x08\x01\x12\xa4\x07\x0a",
        "Teachable Machine, Keras": zipped("keras_model.h5", "labels.txt"),
        "Teachable Machine, tflite": zipped("model_unquant.tflite", "labels.txt"),
        "ONNX of tf2onnx": b"\x08\x04\x12\x07tf2onnx\x1a\x06",
        "ONNX of PyTorch": b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\x80",
        "PyTorch": zipped("digits/data.pkl", "digits/version", "digits/data/0"),
        "PyTorch before 1.6": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M",
        "safetensors": len(safetensors).to_bytes(8, "little") + safetensors + bytes(4),
        "TensorFlow.js": json.dumps({"format": "layers-model", "modelTopology": {}}).encode(),
        "TensorFlow.js, zip": zipped("model.json", "weights.bin"),
        "Coral": bytes(coral) + b"edgetpu-custom-op",
        "pickle": pickle.dumps({"weights": [1, 2, 3]}),
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "web page": b"<!DOCTYPE html>\n<html><head>",
        "notebook": json.dumps({"cells": [], "nbformat": 4}).encode(),
        "configuration": json.dumps({"class_name": "Sequential", "config": {}}).encode(),
        "zip around a file": zipped("model_trained.h5"),
        "NumPy": b"\x93NUMPY\x01\x00v\x00{'descr'",
        "NumPy, zip": zipped("arr_0.npy"),
        "gzip": b"\x1f\x8b\x08\x00",
    }
    return made[kind]


NAMED = {
    "SavedModel's zip": "smartcar model bundle",
    "saved_model.pb": "smartcar model bundle",
    "Teachable Machine, Keras": "Teachable Machine",
    "Teachable Machine, tflite": "Teachable Machine",
    "ONNX of tf2onnx": "ONNX.*onnx2tf",
    "ONNX of PyTorch": "ONNX.*onnx2tf",
    "PyTorch": "PyTorch.*litert-torch",
    "PyTorch before 1.6": "PyTorch.*litert-torch",
    "safetensors": "safetensors",
    "TensorFlow.js": "tensorflowjs_converter",
    "TensorFlow.js, zip": "tensorflowjs_converter",
    "Coral": "Coral.*_edgetpu",
    "pickle": "pickle.*never opened",
    "Git LFS": "git lfs pull",
    "web page": "web page",
    "notebook": "notebook",
    "configuration": "without its weights",
    "zip around a file": "unpack it",
    "NumPy": "without its network",
    "NumPy, zip": "without their network",
    "gzip": "unpack it",
}


@pytest.mark.parametrize(("kind", "says"), NAMED.items())
def test_another_programs_file_is_named_with_the_remedy(kind: str, says: str) -> None:
    with pytest.raises(Refusal, match=f"^digits.h5 .*{says}") as refused:
        model_format(of(kind), "digits.h5")
    assert refused.value.reason == "other_format"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(1000), "empty"),
        (b"my model is great" * 100, "unknown_format"),
        (b'{"a": 1', "unknown_format"),
        (b"[" * 100_000, "unknown_format"),
        (b"{" * 100_000, "unknown_format"),
        (b'{"a": [' * 50_000, "unknown_format"),
        (zipped("notes.txt"), "unknown_format"),
        (zipped("digits.txt")[:-10], "bad_archive"),
        (zipped(*(f"{number}.txt" for number in range(10_001))), "unsafe_archive"),
    ],
)
def test_what_nobody_knows_is_said(content: bytes, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        model_format(content, "digits.h5")
    assert refused.value.reason == reason


def test_a_tflite_that_needs_tensorflow_says_so() -> None:
    content = (FILES / "tflite_files" / "float.tflite").read_bytes() + b"\0FlexTensorListReserve\0"
    with pytest.raises(Refusal, match=r"FlexTensorListReserve.*SELECT_TF_OPS") as refused:
        model_format(content, "digits.tflite")
    assert refused.value.reason == "bad_model"


def test_the_cars_own_formats_are_told_by_their_content() -> None:
    for name, kind in (("course-keras3.h5", "h5"), ("course-keras3.keras", "keras")):
        assert model_format((FILES / "keras_files" / name).read_bytes(), "digits.zip") == kind
    assert model_format((FILES / "tflite_files" / "float.tflite").read_bytes(), "digits.h5") == "tflite"


def test_random_beginnings_end_in_a_refusal_or_a_format() -> None:
    rng = np.random.default_rng(8)
    beginnings = [of(kind) for kind in NAMED]
    for number in range(2_000):
        content = bytearray(beginnings[number % len(beginnings)][: rng.integers(1, 200)] + bytes(50))
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(0, 256)
        try:
            model_format(bytes(content), "digits.h5")
        except Refusal:
            continue


def test_a_file_with_a_pickle_is_refused_unopened(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    (tmp_path / "digits.h5").write_bytes(pickle.dumps(Hostile()))
    (tmp_path / "bundle").mkdir()
    with pytest.raises(Refusal, match="pickle"):
        import_file(tmp_path / "digits.h5", tmp_path / "bundle", golden=Bundle.load(FACTORY))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("file", "says"), [("saved_model.pb", "SavedModel"), ("model.json", "TensorFlow.js")]
)
def test_a_folder_that_is_a_model_is_named(file: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / file).write_bytes(b"\x08\x01\x12")
    with pytest.raises(Refusal, match=says) as refused:
        import_file(tmp_path / "digits", tmp_path, golden=Bundle.load(FACTORY))
    assert refused.value.reason == "other_format"


def test_weights_without_their_network_are_named() -> None:
    content = (FILES / "hostile_files" / "sound.h5").read_bytes().replace(b"model_config", b"model_confog")
    with pytest.raises(Refusal, match="weights without their network") as refused:
        keras.read(content)
    assert refused.value.reason == "bad_config"
