"""A model file without a manifest becomes a bundle: what it is, what it takes, how well it reads.

For the throw-away process of `models.importing.isolated` alone: here the bytes of strangers are looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from messages.errors import ErrorCode
from models.bundle.acceptance import AT_ONCE, Proof, Terms, judge, run_golden
from models.bundle.digits import GOLDEN_FILE, SIDE, Golden
from models.bundle.input_shape import LARGEST, picture_shape
from models.bundle.manifest import (
    INBOX_TERMS,
    MANIFEST_FILE,
    MAX_FILE_BYTES,
    MODEL_FILE,
    RANGES,
    Calibration,
    FileEntry,
    GoldenTerms,
    Imported,
    InputContract,
    Manifest,
)
from models.importing import keras, tflite
from models.importing.convention import find_convention
from models.importing.formats import Format, model_format
from models.inference.calibration import are_probabilities, as_logits, least_probability, temperature
from models.inference.input_preparation import Quantization
from models.inference.runtime import Classifier
from models.refusal import Refusal

_LACKS_SOFTMAX = (
    "Its training was misled: the loss takes probabilities, and the network ends without softmax. "
    "End it with Dense(10, activation='softmax') and train it again."
)
_SLOW = 1.5
"""With more than this times the allowed latency, a model isn't tried in every usual way."""


@dataclass(frozen=True)
class KerasSource:
    """A model file to be made a bundle of."""

    name: str
    content: bytes
    saved: datetime
    """When the file was last changed: the same file gives the same bundle."""


@dataclass(frozen=True)
class _Opened:
    """A model file as LiteRT runs it."""

    format: Format
    model: bytes
    input: InputContract
    keras_version: str | None = None
    span: tuple[float, float] | None = None
    """What the least and the largest integer of the input stand for; None where it takes floats."""
    advice: str = "Train it on more digits."
    """What to do where it reads too few digits."""


@dataclass(frozen=True)
class _Draft:
    """As much of a bundle as running its model takes."""

    manifest: Manifest
    model: bytes

    def with_(self, **fields: Any) -> _Draft:
        """The draft with other fields of its manifest."""
        return _Draft(self.manifest.model_copy(update=fields), self.model)


def convert(
    source: KerasSource,
    golden_bytes: bytes,
    golden: Golden,
    labels: Sequence[str],
    terms: Terms = INBOX_TERMS,
) -> tuple[dict[str, bytes], Proof]:
    """The files of the bundle that the source makes, and what it showed on the car's golden digits.

    Raises Refusal, also where it falls short of `terms`.
    """
    opened = _opened(source, labels)
    files = {MODEL_FILE: opened.model, GOLDEN_FILE: golden_bytes}
    draft = _Draft(_manifest(source, opened.input, files, labels), opened.model)
    _judge_latency(draft, golden, terms, source.name)

    def answer(contract: InputContract, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return Classifier(draft.with_(input=contract)).answer(crops)

    found = find_convention(answer, opened.input, golden, labels, opened.span)
    columns = np.array([found.labels.index(label) for label in golden.labels], np.int64)
    ready = draft.with_(
        input=found.input,
        labels=found.labels,
        calibration=_calibrated(found.answers, columns),
    )
    proof = run_golden(Classifier(ready), golden)
    if proof.accuracy < terms.accuracy:
        raise Refusal(
            ErrorCode.INACCURATE,
            f"{source.name} reads {proof.accuracy:.1%} of {proof.digits} golden digits, and "
            f"{terms.accuracy:.0%} is due. Tried were light and dark ink, values of {', '.join(RANGES)}, "
            f"and any order of labels. {opened.advice}",
        )
    judge(proof, terms, source.name)
    imported = Imported(
        file=source.name[:255],
        format=opened.format,
        size=len(source.content),
        sha256=hashlib.sha256(source.content).hexdigest(),
        keras=opened.keras_version,
        accuracy=proof.accuracy,
    )
    content: dict[str, Any] = ready.with_(imported=imported).manifest.model_dump(mode="json")
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return {MANIFEST_FILE: text.encode(), **files}, proof


def _opened(source: KerasSource, labels: Sequence[str]) -> _Opened:
    """What the file holds, as `.tflite`. Raises Refusal."""
    kind = model_format(source.content, source.name)
    if kind == "tflite":
        contract, span = _input_of_tflite(source.content)
        opened = _Opened(kind, source.content, contract, span=span)
    else:
        network = keras.read(source.content)
        if network.output_shape != (len(labels),):
            raise Refusal(
                ErrorCode.WRONG_OUTPUT,
                f"{source.name} answers {network.output_shape} numbers for {len(labels)} labels; "
                f"end the network with Dense({len(labels)}).",
            )
        version = network.keras_version[:32] if network.keras_version else None
        contract = _contract(network.input_shape, np.float32)
        opened = _Opened(kind, tflite.write(network), contract, version)
        if network.lacks_softmax:
            opened = replace(opened, advice=_LACKS_SOFTMAX)
    if len(opened.model) > MAX_FILE_BYTES[MODEL_FILE]:
        raise Refusal(
            ErrorCode.TOO_LARGE,
            f"{source.name} makes a model of {len(opened.model)} bytes; "
            f"{MAX_FILE_BYTES[MODEL_FILE]} are allowed.",
        )
    return opened


def _input_of_tflite(model: bytes) -> tuple[InputContract, tuple[float, float] | None]:
    """How the file takes a digit, and what the least and the largest integer of its input stand for."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        inputs = Interpreter(model_content=model, num_threads=1).get_input_details()
    except (ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise Refusal(ErrorCode.BAD_MODEL, f"LiteRT can't open the file: {said}.") from None
    if len(inputs) != 1:
        raise Refusal(ErrorCode.WRONG_INPUT, f"The model has {len(inputs)} inputs; one is due.")
    signature = [int(length) for length in inputs[0]["shape_signature"]]
    unknown_size = [
        SIDE if length == -1 and 0 < axis < 3 else length for axis, length in enumerate(signature)
    ]
    with_batch = tuple(unknown_size[1:])
    shape = with_batch if picture_shape(with_batch) else tuple(signature)
    contract = _contract(shape, inputs[0]["dtype"])
    if contract.dtype == "float32":
        return contract, None
    quantization = Quantization(inputs[0]["dtype"], *inputs[0]["quantization"])
    least, largest = quantization.real(np.array(quantization.limits))
    return contract, (float(least), float(largest))


def _contract(shape: tuple[int, ...], dtype: Any) -> InputContract:
    try:
        return InputContract.model_validate({"shape": shape, "dtype": np.dtype(dtype).name})
    except ValueError:
        raise Refusal(
            ErrorCode.WRONG_INPUT,
            f"The model takes {np.dtype(dtype).name} {shape}; the car gives one picture of a digit: "
            f"(28, 28), (28, 28, 1), (784,) or another size to {LARGEST}×{LARGEST}, as floats or integers.",
        ) from None


def _manifest(
    source: KerasSource, contract: InputContract, files: Mapping[str, bytes], labels: Sequence[str]
) -> Manifest:
    return Manifest(
        name=_slug(source.name),
        version="0.0.0",
        release=0,
        issued=source.saved.replace(microsecond=0),
        files=tuple(
            FileEntry.model_validate(
                {"name": name, "size": len(held), "sha256": hashlib.sha256(held).hexdigest()}
            )
            for name, held in files.items()
        ),
        input=contract,
        labels=tuple(labels),
        golden=GoldenTerms.model_validate(INBOX_TERMS.model_dump()),
    )


def _judge_latency(draft: _Draft, golden: Golden, terms: Terms, name: str) -> None:
    """Raises Refusal where a model is so slow that trying it in every usual way would take too long."""
    few = Golden(golden.crops[: 3 * AT_ONCE], golden.labels[: 3 * AT_ONCE])
    proof = run_golden(Classifier(draft), few)
    if proof.latency_ms > _SLOW * terms.latency_ms:
        judge(replace(proof, accuracy=1.0), terms, name)


def _calibrated(answers: NDArray[np.float32], columns: NDArray[np.int64]) -> Calibration:
    """What the answers are, and the temperature that makes them honest; `columns` are the right ones."""
    return Calibration(
        output="probabilities" if are_probabilities(answers) else "logits",
        temperature=temperature(as_logits(answers), columns),
        least=least_probability(answers),
    )


def _slug(file: str) -> str:
    """A file's name as a model's: `model_trained.h5` is `model-trained`."""
    slug = re.sub(r"[^a-z0-9]+", "-", file.rpartition(".")[0].lower() or file.lower()).strip("-")
    return slug[:64] or "model"
