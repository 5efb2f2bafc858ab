"""Tell what a model file is by its content: one that the car reads, or another program's, with the remedy."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Literal

from messages.errors import ErrorCode
from messages.text import file_name
from models.bundle import zipped
from models.importing.keras.hdf5 import SIGNATURE as HDF5
from models.refusal import Refusal

Format = Literal["h5", "keras", "tflite"]

_TFLITE = b"TFL3"
_CORAL = b"edgetpu-custom-op"
_FLEX = re.compile(rb"Flex[A-Z][A-Za-z0-9]{2,40}")
"""An operator of TensorFlow in a `.tflite`, which LiteRT alone can't run."""
_MOST_ENTRIES, _MOST_DIRECTORY_BYTES = 10_000, 1 << 20
"""Of a zip: a SavedModel or a PyTorch file has a few hundred. PyTorch writes them as ZIP64."""

_SAVED_MODEL = (
    "is a SavedModel of TensorFlow, which the car can't run; on a PC with TensorFlow "
    "`smartcar model bundle SAVED_MODEL digits.zip` makes a bundle of it"
)
_PYTORCH = (
    "is a model of PyTorch, which the car can't run; on a PC convert it to .tflite with litert-torch, "
    "or build the network in Keras and save it with model.save('digits.keras')"
)
_TEACHABLE_MACHINE = (
    "is an export of Teachable Machine, whose network is made for colour photos of 224×224; train one for "
    "digits of 28×28, as docs/training.md shows, or unpack the zip and try the .tflite in it"
)
_TFJS = (
    "is a model for TensorFlow.js, which the car can't run; give the Keras file it was made from, or convert "
    "it back on a PC: tensorflowjs_converter --input_format tfjs_layers_model --output_format keras "
    "model.json digits.h5"
)
_BY_NAMES = (
    (r"(.*/)?saved_model\.pb", _SAVED_MODEL),
    (r"(.*/)?labels\.txt", _TEACHABLE_MACHINE),
    (r"(.*/)?data\.pkl", _PYTORCH),
    (r"(.*/)?model\.json", _TFJS),
    (r".*\.(h5|hdf5|keras|tflite)", "is a zip with a model file in it; unpack it and give that file"),
    (
        r".*\.npy",
        "holds NumPy arrays without their network; save the whole model with model.save('digits.keras')",
    ),
)
"""Zips of other programs, by a file in them; the first that fits."""

_BY_HEAD = (
    (rb"\x08\x01\x12", _SAVED_MODEL),
    (
        rb"\x08[\x02-\x20][\x12\x1a\x22\x28\x32\x3a\x42]",
        "is an ONNX model, which the car can't run; on a PC convert it to .tflite with onnx2tf, or save the "
        "model from Keras with model.save('digits.keras')",
    ),
    (rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", _PYTORCH),
    (
        rb"\x80[\x02-\x05]",
        "is a Python pickle, which can run any code and is never opened; save the model from Keras with "
        "model.save('digits.keras')",
    ),
    (rb".{6}\0\0\{\s*\"", f"holds weights in the format safetensors: it {_PYTORCH}"),
    (
        rb"\x93NUMPY",
        "holds a NumPy array without its network; save the whole model with model.save('digits.keras')",
    ),
    (
        rb"version https://git-lfs",
        "is a pointer of Git LFS, not the model; run git lfs pull and copy the file again",
    ),
    (
        rb"(?i)\s*<(!doctype )?html",
        "is a web page, not the model; download the file itself, on GitHub with Raw",
    ),
    (rb"\x1f\x8b|7z\xbc\xaf|Rar!|.{257}ustar", "is an archive; unpack it and give the model file in it"),
)
"""Files of other programs, by what they begin with; the first that fits."""


def model_format(content: bytes, name: str) -> Format:
    """Which of the car's formats a file called `name` has. Its name says nothing. Raises Refusal.

    TensorFlow 2.4 to 2.11 wrote HDF5 into files called `.keras`, too.
    """
    if content.startswith(HDF5):
        return "h5"
    if content.startswith(zipped.SIGNATURE):
        return _zip_format(content, name)
    if content[4:8] == _TFLITE:
        if _CORAL in content:
            raise _other(
                name,
                "is compiled for a Coral accelerator (Edge TPU) and runs on nothing else; give the .tflite "
                "that it was compiled from, without _edgetpu in its name",
            )
        if flex := _FLEX.search(content):
            raise Refusal(
                ErrorCode.BAD_MODEL,
                f"{name} needs TensorFlow itself for {flex[0].decode()}, which the car hasn't got; convert "
                "it without tf.lite.OpsSet.SELECT_TF_OPS, from layers that LiteRT knows.",
            )
        return "tflite"
    if not content.strip(b"\0"):
        raise Refusal(ErrorCode.EMPTY, f"{name} holds nothing, or nothing but zeros; copy it again.")
    for signature, said in _BY_HEAD:
        if re.match(signature, content[:512], re.DOTALL):
            raise _other(name, said)
    if content.lstrip()[:1] == b"{":
        _refuse_json(content, name)
    raise Refusal(
        ErrorCode.UNKNOWN_FORMAT,
        f"{name} is no .h5, .keras or .tflite, whatever its name; save the model with model.save(…).",
    )


def refuse_folder(folder: Path) -> None:
    """Raises Refusal for a folder that is another program's model."""
    for file, said in (("saved_model.pb", _SAVED_MODEL), ("model.json", _TFJS)):
        if (folder / file).is_file():
            raise _other(file_name(folder), said)


def _zip_format(content: bytes, name: str) -> Format:
    zipped.refuse_large_directory(content, _MOST_ENTRIES, _MOST_DIRECTORY_BYTES, zip64=True)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except zipped.DAMAGE as error:
        raise Refusal(ErrorCode.BAD_ARCHIVE, f"{name} is a damaged zip ({error}); copy it again.") from None
    if "config.json" in names:
        return "keras"
    for pattern, said in _BY_NAMES:
        if any(re.fullmatch(pattern, each) for each in names):
            raise _other(name, said)
    raise Refusal(
        ErrorCode.UNKNOWN_FORMAT, f"{name} is a zip without a model in it; save the model with model.save(…)."
    )


def _refuse_json(content: bytes, name: str) -> None:
    try:
        held = json.loads(content[: 4 << 20])
    except (ValueError, RecursionError):
        return
    if "modelTopology" in held or "weightsManifest" in held:
        raise _other(name, _TFJS)
    if "nbformat" in held:
        raise _other(
            name, "is a notebook, not a model; run it and save the model with model.save('digits.keras')"
        )
    if "class_name" in held:
        raise _other(
            name,
            "describes a network without its weights; save the whole model with model.save('digits.keras')",
        )


def _other(name: str, said: str) -> Refusal:
    return Refusal(ErrorCode.OTHER_FORMAT, f"{name} {said}.")
