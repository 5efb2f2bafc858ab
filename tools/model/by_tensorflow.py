"""Model files that the car can't read by itself, converted with TensorFlow on a PC."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from messages.errors import ErrorCode
from models.bundle.bundle import Bundle
from models.bundle.manifest import INBOX_TERMS, MAX_SOURCE_BYTES, GoldenTerms
from models.importing.isolated import Import, import_file
from models.refusal import Refusal
from tools.terminal.problems import Problem

_WORTH_CONVERTING = frozenset(
    {
        ErrorCode.CUSTOM_CODE,
        ErrorCode.UNSUPPORTED_LAYER,
        ErrorCode.UNSUPPORTED_SETTING,
        ErrorCode.UNSUPPORTED_LAYOUT,
        ErrorCode.OTHER_FORMAT,
    }
)
_SAVED_MODEL = "saved_model.pb"
_MAX_ENTRIES = 10_000
_MAX_UNPACKED = 4 * MAX_SOURCE_BYTES


def take(model: Path, golden: Bundle, terms: GoldenTerms = INBOX_TERMS) -> Import:
    """The bundle that the file or SavedModel `model` makes, tested as on the car, on the digits of `golden`.

    What the car can't read is converted with TensorFlow before. Raises Refusal, and Problem where TensorFlow
    is missing or can't convert it.
    """
    with tempfile.TemporaryDirectory(prefix="smartcar-bundle-") as name:
        folder = Path(name) / "bundle"
        folder.mkdir()
        try:
            return import_file(model, folder, golden=golden, terms=terms)
        except Refusal as refusal:
            if refusal.reason not in _WORTH_CONVERTING:
                raise
            converted = Path(name) / f"{model.stem}.tflite"
            converted.write_bytes(_converted(model, Path(name) / "unpacked", refusal))
        return import_file(converted, folder, golden=golden, terms=terms)


def _converted(model: Path, unpacked: Path, refusal: Refusal) -> bytes:
    """The `.tflite` that TensorFlow makes of the model. Raises `refusal` where it makes none of it."""
    saved_model = _saved_model(model, unpacked)
    if saved_model is None and refusal.reason == ErrorCode.OTHER_FORMAT:
        raise refusal
    try:
        import keras
        import tensorflow
    except ImportError:
        raise Problem(
            f"{refusal} TensorFlow, which converts it, is missing here: `sh tools/setup.sh train`."
        ) from None
    from tools.train.export import convert

    try:
        if saved_model is not None:
            converter: Any = tensorflow.lite.TFLiteConverter.from_saved_model(str(saved_model))
            return bytes(converter.convert())
        return convert(keras.models.load_model(model, compile=False, safe_mode=True), "float32")
    except Exception as error:  # of Keras, TensorFlow or its converter, which raise all kinds
        said = " ".join(str(error).split())[:300]
        raise Problem(f"{model.name}: TensorFlow can't convert it: {said}.") from error


def _saved_model(model: Path, unpacked: Path) -> Path | None:
    """The folder of a SavedModel: `model` itself, or what its zip unpacks to. None for any other file."""
    if model.is_dir():
        return model if (model / _SAVED_MODEL).is_file() else None
    if not zipfile.is_zipfile(model):
        return None
    with zipfile.ZipFile(model) as archive:
        entries = archive.infolist()
        found = next((entry.filename for entry in entries if Path(entry.filename).name == _SAVED_MODEL), None)
        if found is None:
            return None
        if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > _MAX_UNPACKED:
            raise Refusal(
                ErrorCode.TOO_LARGE,
                f"{model.name} unpacks to more than a digit model needs; it is not unpacked.",
            )
        archive.extractall(unpacked)  # zipfile keeps what it unpacks inside the folder
    folder = (unpacked / found).parent
    return folder if (folder / _SAVED_MODEL).is_file() else None
