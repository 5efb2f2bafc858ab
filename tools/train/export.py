"""Turn a trained network into a bundle: convert, compare with Keras, calibrate, test, describe."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.bundle.bundle import Bundle
from models.bundle.manifest import (
    GOLDEN_FILE,
    MODEL_FILE,
    Calibration,
    DataSet,
    FileEntry,
    GoldenTerms,
    Manifest,
    Training,
)
from models.inference.runtime import Classifier
from tools.train import calibrate
from tools.train.fit import Sets, logits
from tools.train.network import LABELS

Precision = Literal["float32", "int8"]

GOLDEN_DIGITS = 300
GOLDEN_FLOOR = 0.98
GOLDEN_LATENCY_MS = 20.0
"""Five digits; ten times what the slowest board we support takes."""

GOLDEN_SOURCES = {
    "mnist": "digits held out of MNIST's training part",
    "pen": "pen digits of writers 21 to 25 on the pad",
}
"""The validation sets that golden digits come from, by their names in `epochs.validation`.

The car judges any model by them, a beginner's too, so no set that only our own model knows is among them.
"""

DATA = {
    "mnist": DataSet(
        name="MNIST",
        use="training (first 55,000 of the training part), validation and golden digits (its last 5,000)",
        licence="CC BY-SA 3.0",
        attribution="Yann LeCun, Corinna Cortes, Christopher J. C. Burges",
        count=60_000,
    ),
    "pen": DataSet(
        name="Pen-Based Recognition of Handwritten Digits (UCI), original strokes of the training part",
        use="training (writers 1 to 20), validation and golden digits (writers 21 to 25)",
        licence="CC BY 4.0",
        attribution="E. Alpaydin, F. Alimoglu, 1998",
        count=6_246,
    ),
    "unipen": DataSet(
        name="UNIPEN train_r01_v07, category 1a",
        use="training (contributors syn, apb, app, val, ced, gmd), validation (apa)",
        licence="CC BY 4.0",
        attribution="UNIPEN Foundation (Guyon, Schomaker, Plamondon, Liberman, Janet 1994)",
        count=12_252,
    ),
    "bhmsds": DataSet(
        name="BHMSDS", use="training", licence="MIT", attribution="wblachowski, 2019", count=15_000
    ),
    "semeion": DataSet(
        name="Semeion Handwritten Digit (UCI)",
        use="training",
        licence="CC BY 4.0",
        attribution="Tattile; Semeion Research Center of Sciences of Communication, Rome",
        count=1_593,
    ),
    "hand": DataSet(
        name="smartcar's own hand",
        use="training: synthetic handwriting (models/ink), for allographs the sets hardly hold",
        licence="MIT",
        attribution="the smartcar project",
    ),
}
"""What a manifest says of each set of the mixture."""


def convert(model: Any, precision: Precision) -> bytes:
    """The Keras model as a LiteRT flatbuffer, through a SavedModel; weights in float32 or 8 bits.

    Not through `from_concrete_functions`, which leaves the weights of a Keras 3 model out without a word.
    """
    import tensorflow

    folder = tempfile.mkdtemp(prefix="smartcar-export-")
    try:
        model.export(folder, verbose=False)
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(folder)
        if precision == "int8":
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        return bytes(converter.convert())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bundle(
    folder: Path,
    model: Any,
    sets: Sets,
    *,
    version: str,
    release: int,
    seed: int,
    precision: Precision = "float32",
    name: str = "digits",
    commit: str | None = None,
    metrics: dict[str, Any] | None = None,
    data: Sequence[DataSet] = tuple(DATA.values()),
    golden_floor: float = GOLDEN_FLOOR,
) -> Bundle:
    """Write a bundle into `folder` and prove it: same answers as Keras, golden floor met. Returns it.

    `sets` are the validation digits: temperature and golden digits come from them. Raises ValueError where
    the converted model differs from the trained one or misses the floor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    crops = np.concatenate([part[0] for part in sets.values()])
    labels = np.concatenate([part[1] for part in sets.values()])
    raw = logits(model, crops)
    warmth = calibrate.temperature(raw, labels)
    content = {MODEL_FILE: convert(model, precision), GOLDEN_FILE: golden(_golden_of(sets), seed)}
    for file, data_bytes in content.items():
        (folder / file).write_bytes(data_bytes)
    confidence = _softmax(raw / warmth)
    measured = {
        "validation": {
            name: float((raw_of.argmax(1) == part[1]).mean()) for name, part, raw_of in _split(sets, raw)
        },
        "validation_calibration_error": round(
            calibrate.expected_error(confidence.max(axis=1), raw.argmax(axis=1) == labels), 5
        ),
        "precision": precision,
        "parameters": int(model.count_params()),
        **(metrics or {}),
    }
    manifest = Manifest(
        name=name,
        version=version,
        release=release,
        issued=datetime.now(UTC).replace(microsecond=0),
        files=tuple(
            FileEntry.model_validate(
                {"name": file, "size": len(held), "sha256": hashlib.sha256(held).hexdigest()}
            )
            for file, held in content.items()
        ),
        labels=LABELS,
        calibration=Calibration(output="logits", temperature=warmth),
        golden=GoldenTerms(
            accuracy=golden_floor,
            latency_ms=GOLDEN_LATENCY_MS,
            source=" and ".join(GOLDEN_SOURCES.get(part, part) for part in _golden_of(sets)),
        ),
        training=Training(data=tuple(data), commit=commit, seed=seed, metrics=measured),
    )
    _write_manifest(folder, manifest)
    bundle = Bundle.load(folder)
    _prove(bundle, crops[::7], confidence[::7], 1e-4 if precision == "float32" else 0.2)
    return bundle


def add_metrics(bundle: Bundle, metrics: dict[str, Any]) -> Bundle:
    """Write more measured figures into a bundle's manifest; its digest changes. Returns it as it is then."""
    manifest = bundle.manifest
    training = manifest.training.model_copy(update={"metrics": {**manifest.training.metrics, **metrics}})
    _write_manifest(bundle.folder, manifest.model_copy(update={"training": training}))
    return Bundle.load(bundle.folder)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def _golden_of(sets: Sets) -> Sets:
    """The sets that golden digits come from; all where none of them is there."""
    return {name: part for name, part in sets.items() if name in GOLDEN_SOURCES} or sets


def golden(sets: Sets, seed: int, count: int = GOLDEN_DIGITS) -> bytes:
    """golden.npz: `count` validation digits, as many of each set and label as go, chosen by the seed."""
    rng = np.random.default_rng([seed, 0x601D])
    crops, labels = [], []
    for images, names in sets.values():
        for label in range(len(LABELS)):
            having = np.flatnonzero(names == label)
            chosen = rng.choice(having, min(len(having), count // len(sets) // len(LABELS)), replace=False)
            crops.append(images[chosen])
            labels += [LABELS[label]] * len(chosen)
    packed = io.BytesIO()
    np.savez_compressed(packed, crops=np.concatenate(crops), labels=np.array(labels))
    return _without_times(packed.getvalue())


def _prove(bundle: Bundle, crops: NDArray[np.uint8], expected: NDArray[np.float32], tolerance: float) -> None:
    classifier = Classifier(bundle)
    singly = np.concatenate([classifier.classify(crop[None]) for crop in crops])
    for what, answer in (("one by one", singly), ("in fives", classifier.classify(crops))):
        worst = float(np.abs(answer - expected).max())
        if worst > tolerance:
            raise ValueError(f"The converted model differs from the trained one by {worst:.3g}, run {what}.")
    digits = bundle.golden()
    answers = classifier.classify(digits.crops).argmax(axis=1)
    right = float(
        np.mean([bundle.manifest.labels[a] == b for a, b in zip(answers, digits.labels, strict=True)])
    )
    if right < bundle.manifest.golden.accuracy:
        raise ValueError(
            f"The model reads {right:.1%} of its golden digits; {bundle.manifest.golden.accuracy:.1%} is due."
        )


def _split(sets: Sets, raw: NDArray[np.float32]) -> list[tuple[str, Any, NDArray[np.float32]]]:
    parts, at = [], 0
    for name, part in sets.items():
        parts.append((name, part, raw[at : at + len(part[1])]))
        at += len(part[1])
    return parts


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _without_times(packed: bytes) -> bytes:
    """The same archive with no times in it, so that the same digits give the same bytes."""
    clean = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as source, zipfile.ZipFile(clean, "w") as target:
        for entry in source.infolist():
            timeless = zipfile.ZipInfo(entry.filename)
            target.writestr(timeless, source.read(entry), zipfile.ZIP_DEFLATED, 9)
    return clean.getvalue()
