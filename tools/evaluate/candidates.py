"""Any model that can be judged: a bundle, a run, `.tflite`, or a Keras file; and how it wants its digits."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle, BundleError
from models.bundle.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    Calibration,
    FileEntry,
    GoldenTerms,
    InputContract,
    Manifest,
)
from models.inference.normalise import SIDE, normalise
from models.inference.runtime import Classifier, ModelError
from models.inference.test_time_averaging import CarefulClassifier
from models.ink import synthetic_handwriting as hand
from models.ink.strokes import render
from tools.terminal.problems import Problem
from tools.train.course import LABELS, plain
from tools.train.data.pen import BOX, BRUSH

if TYPE_CHECKING:
    from services.recognizer.pipeline import Classifier as Classifies

Pixels = NDArray[np.uint8]
Preparation = Literal["plain", "normalised"]

FACTORY_BUNDLE = Path(models.__file__).parent / "factory"
PREPARATIONS: dict[Preparation, Callable[[Pixels], Pixels]] = {"plain": plain, "normalised": normalise}
"""How ink becomes a crop: shrunk as it is, as the course does, or MNIST's way, as the car does."""
_KERAS = (".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class Candidate:
    """A model to be judged, and how its digits are prepared."""

    name: str
    """Of a model that is no bundle, also how its digits are prepared."""
    classifier: Classifies
    preparation: Preparation
    digest: str = ""
    """SHA-256 of the file, or of the bundle's manifest."""
    size: int = 0
    """Bytes of the model's file."""

    def probabilities(self, inks: Sequence[Pixels]) -> NDArray[np.float32]:
        """(n, 10), the digits in order, of inks, each (h, w), bright on black. Raises ModelError."""
        labels = list(self.classifier.labels)
        if not set(LABELS) <= set(labels):
            raise ModelError(f"{self.name} answers {', '.join(labels)}: it doesn't read all ten digits.")
        prepare = PREPARATIONS[self.preparation]
        answer = self.classifier.classify(np.stack([prepare(ink) for ink in inks]))
        return answer[:, [labels.index(digit) for digit in LABELS]]

    def five_ms(self, rounds: int = 200) -> float:
        """Milliseconds, the median, to prepare five digits drawn on the pad and read them, on one thread."""
        inks = five_drawn()
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            self.probabilities(inks)
            times.append(time.perf_counter() - started)
        return float(np.median(times)) * 1000


def load(path: Path, preparation: Preparation | None = None) -> Candidate:
    """The model at `path`: a bundle's or a run's folder, or a `.tflite`, `.h5` or `.keras` file.

    A network that takes 784 values in a row is the course's kind and gets its digits `plain`, any other gets
    them `normalised`, unless `preparation` says otherwise. Raises Problem.
    """
    try:
        if path.is_dir():
            return _from_folder(path, preparation)
        if path.suffix == ".tflite":
            return _from_tflite(path.stem, path.read_bytes(), preparation)
        if path.suffix in _KERAS:
            return _from_keras(path, preparation)
    except (BundleError, ModelError) as error:
        raise Problem(str(error)) from None
    except OSError as error:
        raise Problem(f"{path} can't be read: {error.strerror or error}.") from None
    raise Problem(f"{path} is no model: give a bundle's or a run's folder, or a .tflite, .h5 or .keras file.")


def is_model(path: Path) -> bool:
    """Whether `load` would try it."""
    if path.is_dir():
        return any((path / name).is_file() for name in ("manifest.json", "config.json"))
    return path.suffix in (*_KERAS, ".tflite")


def of_bundle(bundle: Bundle) -> Candidate:
    """A bundle that is loaded already. Raises ModelError."""
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    return Candidate(name, CarefulClassifier(bundle), "normalised", bundle.digest, len(bundle.model))


def of_keras(name: str, model: Any, preparation: Preparation) -> Candidate:
    """A Keras model in memory, run by TensorFlow."""
    return Candidate(name, KerasClassifier(model), preparation)


def five_drawn() -> list[Pixels]:
    """Five digits as drawn on the pad, each (98, 98), bright on black: what times are measured with."""
    boxed = [hand.into_box(strokes, 0, 0, BOX, BOX) for strokes in hand.write("06234", 0)]
    return [render(strokes, (BOX, BOX), BRUSH) for strokes in boxed]


class KerasClassifier:
    """A Keras model that takes 28×28 values in 0…1, in whatever shape, and answers for ten digits."""

    labels = LABELS

    def __init__(self, model: Any) -> None:
        self._model = model
        self._shape = tuple(model.input_shape[1:])
        if int(np.prod(self._shape)) != SIDE * SIDE or tuple(model.output_shape[1:]) != (len(LABELS),):
            raise ModelError(
                f"A model from {self._shape} to {tuple(model.output_shape[1:])} reads no digits: "
                f"28×28 values in and 10 out are due."
            )

    def classify(self, crops: Pixels) -> NDArray[np.float32]:
        fed = crops.reshape(len(crops), *self._shape).astype(np.float32) / np.float32(255)
        answer = np.asarray(self._model.predict(fed, batch_size=500, verbose=0), np.float32)
        return answer if are_probabilities(answer) else _softmax(answer)


def are_probabilities(answer: NDArray[np.floating]) -> bool:
    """Whether every row is positive and sums to 1, as after a softmax."""
    return bool((answer >= 0).all() and np.allclose(answer.sum(axis=1), 1, atol=1e-3))


def _from_folder(path: Path, preparation: Preparation | None) -> Candidate:
    if (path / "manifest.json").is_file():
        candidate = of_bundle(Bundle.load(path))
    elif (path / "bundle" / "manifest.json").is_file():
        candidate = of_bundle(Bundle.load(path / "bundle"))
    elif (path / "model.keras").is_file():
        return _from_keras(path / "model.keras", preparation, path.name)
    else:
        raise Problem(f"{path} holds neither a bundle nor a finished run.")
    if preparation in (None, candidate.preparation):
        return candidate
    raise Problem("A bundle's digits are always normalised: that is what the car does.")


def _from_keras(path: Path, preparation: Preparation | None, name: str = "") -> Candidate:
    try:
        from models.importing.keras import read
        from models.importing.tflite import write
        from models.refusal import Refusal
    except ImportError:
        return _by_tensorflow(path, preparation, name)
    try:
        content = write(read(path.read_bytes()))
    except Refusal as refusal:
        try:
            return _by_tensorflow(path, preparation, name)
        except Problem:
            raise Problem(str(refusal)) from None
    return _from_tflite(name or path.stem, content, preparation, path)


def _by_tensorflow(path: Path, preparation: Preparation | None, name: str) -> Candidate:
    try:
        import keras
    except ImportError:
        raise Problem(f"{path} needs TensorFlow to be read: pip install 'smartcar[train]'.") from None
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise Problem(
            f"{path} can't be read as a Keras model: {' '.join(str(error).split())[:200]}"
        ) from None
    classifier = KerasClassifier(model)
    chosen = preparation or _suited(tuple(model.input_shape[1:]))
    content = path.read_bytes()
    return Candidate(f"{name or path.stem}, {chosen}", classifier, chosen, _digest(content), len(content))


def _from_tflite(
    name: str, content: bytes, preparation: Preparation | None, source: Path | None = None
) -> Candidate:
    shape, answer = _probe(name, content)
    output: Literal["logits", "probabilities"] = "probabilities" if are_probabilities(answer) else "logits"
    held = source.read_bytes() if source else content
    chosen = preparation or _suited(shape)
    kind = CarefulClassifier if chosen == "normalised" else Classifier  # as the car reads, or as the course
    classifier = kind(_as_bundle(name, content, shape, output))
    return Candidate(f"{name}, {chosen}", classifier, chosen, _digest(held), len(held))


def _probe(name: str, content: bytes) -> tuple[tuple[int, ...], NDArray[np.float32]]:
    """The shape of one digit that a `.tflite` takes, and what it answers to half-grey pixels."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        taken = interpreter.get_input_details()[0]
        shape = tuple(int(length) for length in taken["shape"][1:])
        interpreter.resize_tensor_input(taken["index"], (1, *shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], np.full((1, *shape), 0.5, np.float32))
        interpreter.invoke()
        return shape, np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    except (ValueError, RuntimeError, IndexError) as error:
        raise ModelError(f"{name} can't be run: {' '.join(str(error).split())[:200]}") from None


def _as_bundle(
    name: str, content: bytes, shape: tuple[int, ...], output: Literal["logits", "probabilities"]
) -> Bundle:
    """A bundle in memory around a bare model, its golden digits the shipped one's. Raises ModelError."""
    golden = (FACTORY_BUNDLE / GOLDEN_FILE).read_bytes()
    try:
        manifest = Manifest(
            name="candidate",
            version="0.0.0",
            release=0,
            issued=datetime.now(UTC),
            files=tuple(
                FileEntry.model_validate({"name": file, "size": len(held), "sha256": _digest(held)})
                for file, held in ((MODEL_FILE, content), (GOLDEN_FILE, golden))
            ),
            input=InputContract(shape=shape),
            labels=LABELS,
            calibration=Calibration(output=output),
            golden=GoldenTerms(accuracy=0.0, latency_ms=1000.0),
        )
    except ValueError:
        raise ModelError(f"{name} takes {shape} where 28×28 values are due: it reads no digits.") from None
    stated = manifest.model_dump_json().encode()
    files = {MANIFEST_FILE: stated, MODEL_FILE: content, GOLDEN_FILE: golden}
    return Bundle.from_files(files, FACTORY_BUNDLE)


def _suited(shape: tuple[int, ...]) -> Preparation:
    return "plain" if shape == (SIDE * SIDE,) else "normalised"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
