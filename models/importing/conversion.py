"""A model file without a manifest becomes a bundle: what it is, what it takes, how well it reads.

For the throw-away process of `models.importing.isolated` alone: here the bytes of strangers are looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.bundle import zipped
from models.bundle.acceptance import Proof, judge, run_golden
from models.bundle.bundle import Bundle
from models.bundle.digits import GOLDEN_FILE, Golden
from models.bundle.manifest import (
    INBOX_TERMS,
    MANIFEST_FILE,
    MAX_FILE_BYTES,
    MODEL_FILE,
    Calibration,
    FileEntry,
    GoldenTerms,
    Imported,
    InputContract,
    Manifest,
)
from models.importing import keras, tflite
from models.importing.keras.hdf5 import SIGNATURE as HDF5
from models.inference.calibration import temperature
from models.inference.runtime import Classifier
from models.refusal import Reason, Refusal

INPUT_SHAPES = ((28, 28), (28, 28, 1), (784,))
"""What a digit model takes: a picture of 28×28 floats from 0 to 1, ink bright on black."""
_TFLITE = b"TFL3"
_TINY = 1e-12

Format = Literal["h5", "keras", "tflite"]


@dataclass(frozen=True)
class Source:
    """A model file to be made a bundle of."""

    name: str
    content: bytes
    saved: datetime
    """When the file was last changed: the same file gives the same bundle."""


def convert(
    source: Source, golden_bytes: bytes, golden: Golden, labels: Sequence[str]
) -> tuple[dict[str, bytes], Proof]:
    """The files of the bundle that the source makes, and what it showed on the car's golden digits.

    Raises Refusal.
    """
    kind = _format(source.content)
    version: str | None = None
    if kind == "tflite":
        model = source.content
        shape = _input_of_tflite(model)
    else:
        network = keras.read(source.content)
        version, shape = network.keras_version, network.input_shape
        if network.output_shape != (len(labels),):
            raise Refusal(
                Reason.WRONG_OUTPUT,
                f"{source.name} answers {network.output_shape} numbers for {len(labels)} labels; "
                f"end the network with Dense({len(labels)}).",
            )
    if shape not in INPUT_SHAPES:
        raise Refusal(
            Reason.WRONG_INPUT,
            f"{source.name} takes {shape}; the car gives one picture of 28×28 floats: "
            "(28, 28), (28, 28, 1) or (784,).",
        )
    if kind != "tflite":
        model = tflite.write(network)
    if len(model) > MAX_FILE_BYTES[MODEL_FILE]:
        raise Refusal(
            Reason.TOO_LARGE,
            f"{source.name} makes a model of {len(model)} bytes; {MAX_FILE_BYTES[MODEL_FILE]} are allowed.",
        )
    draft = Manifest(
        name=_slug(source.name),
        version="0.0.0",
        release=0,
        issued=source.saved.replace(microsecond=0),
        files=tuple(
            FileEntry.model_validate(
                {"name": name, "size": len(held), "sha256": hashlib.sha256(held).hexdigest()}
            )
            for name, held in ((MODEL_FILE, model), (GOLDEN_FILE, golden_bytes))
        ),
        input=InputContract(shape=shape),
        labels=tuple(labels),
        golden=GoldenTerms.model_validate(INBOX_TERMS.model_dump()),
    )
    answers = Classifier(_bundle(draft, model, golden_bytes)).answer(golden.crops)
    calibration = _calibrated(answers, np.array([labels.index(label) for label in golden.labels], np.int64))
    calibrated = draft.model_copy(update={"calibration": calibration})
    proof = run_golden(Classifier(_bundle(calibrated, model, golden_bytes)), golden)
    judge(proof, INBOX_TERMS, source.name)
    imported = Imported(
        file=source.name[:255],
        format=kind,
        size=len(source.content),
        sha256=hashlib.sha256(source.content).hexdigest(),
        keras=version[:32] if version else None,
        accuracy=proof.accuracy,
    )
    manifest = calibrated.model_copy(update={"imported": imported})
    return _files(manifest, model, golden_bytes), proof


def _format(content: bytes) -> Format:
    """Told by the content: TensorFlow 2.4 to 2.11 wrote HDF5 into files called `.keras`, too."""
    if content.startswith(HDF5):
        return "h5"
    if content.startswith(zipped.SIGNATURE):
        return "keras"
    if content[4:8] == _TFLITE:
        return "tflite"
    if not content.strip(b"\0"):
        raise Refusal(Reason.EMPTY, "The file holds nothing, or nothing but zeros; copy it again.")
    raise Refusal(
        Reason.UNKNOWN_FORMAT,
        "The file is no .h5, .keras or .tflite, whatever its name; save the model with model.save(…).",
    )


def _input_of_tflite(model: bytes) -> tuple[int, ...]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        inputs = Interpreter(model_content=model, num_threads=1).get_input_details()
    except (ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise Refusal(Reason.BAD_MODEL, f"LiteRT can't open the file: {said}") from None
    if len(inputs) != 1:
        raise Refusal(Reason.WRONG_INPUT, f"The model has {len(inputs)} inputs; one is due.")
    return tuple(int(length) for length in inputs[0]["shape"][1:])


def _calibrated(answers: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """What the answers are, told by the numbers, and the temperature that makes them honest."""
    sums = answers.sum(axis=1)
    if (answers >= 0).all() and (np.abs(sums - 1) < 1e-3).all():
        logits = np.log(np.maximum(answers, np.float32(_TINY)))
        return Calibration(output="probabilities", temperature=temperature(logits, labels))
    return Calibration(output="logits", temperature=temperature(answers, labels))


def _files(manifest: Manifest, model: bytes, golden_bytes: bytes) -> dict[str, bytes]:
    content: dict[str, Any] = manifest.model_dump(mode="json")
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return {MANIFEST_FILE: text.encode(), MODEL_FILE: model, GOLDEN_FILE: golden_bytes}


def _bundle(manifest: Manifest, model: bytes, golden_bytes: bytes) -> Bundle:
    return Bundle.from_files(_files(manifest, model, golden_bytes), Path(manifest.name))


def _slug(file: str) -> str:
    """A file's name as a model's: `model_trained.h5` is `model-trained`."""
    slug = re.sub(r"[^a-z0-9]+", "-", file.rpartition(".")[0].lower() or file.lower()).strip("-")
    return slug[:64] or "model"
