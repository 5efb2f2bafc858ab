"""Any model that can be judged: a bundle, a run, `.tflite`, or a Keras file; and how it wants its digits."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import models
from models.bundle.archive import read_archive
from models.bundle.bundle import Bundle
from models.bundle.manifest import GoldenTerms
from models.eye.eye import Eye
from models.importing.isolated import intake
from models.inference.calibration import are_probabilities
from models.inference.normalise import SIDE, normalise
from models.inference.runtime import Classifier, ModelError
from models.inference.test_time_averaging import CarefulClassifier
from models.ink import synthetic_handwriting as hand
from models.ink.strokes import render
from services.recognizer.pipeline import DigitClassifier as Classifies
from services.recognizer.pipeline import Reader
from tools.model.by_tensorflow import take
from tools.terminal.problems import Problem
from tools.train.course import LABELS, plain
from tools.train.data.pen import BOX, BRUSH

Pixels = NDArray[np.uint8]
Preparation = Literal["plain", "normalised"]

FACTORY_BUNDLE = Path(models.__file__).parent / "factory"
PREPARATIONS: dict[Preparation, Callable[[Pixels], Pixels]] = {"plain": plain, "normalised": normalise}
"""How ink becomes a crop: shrunk as it is, as the course does, or MNIST's way, as the car does."""
_KERAS = (".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class ComparedModel:
    """A model to be judged, and how its digits are prepared."""

    name: str
    """Of a model that is no bundle, also how its digits are prepared."""
    classifier: Classifies
    preparation: Preparation
    digest: str = ""
    """SHA-256 of the file, or of the bundle's manifest."""
    size: int = 0
    """Bytes of the model's file."""
    eye: bytes | None = field(default=None, repr=False)
    """The eye that its bundle brings."""

    def reader(self) -> Reader:
        """Reads pictures with this model. Raises EyeError."""
        return Reader(self.classifier, Eye(self.eye) if self.eye is not None else None)

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


def load(path: Path, preparation: Preparation | None = None) -> ComparedModel:
    """The model at `path`: a bundle, a run's folder, a SavedModel, or a `.tflite`, `.h5` or `.keras` file.

    A network that takes 784 values in a row is the course's kind and gets its digits `plain`, any other gets
    them `normalised`, unless `preparation` says otherwise. Raises Problem, Refusal.
    """
    try:
        if path.is_dir():
            return _from_folder(path, preparation)
        path.stat()
        return _from_file(path, preparation)
    except OSError as error:
        raise Problem(f"{path} can't be read: {error.strerror or error}.") from None


def is_model(path: Path) -> bool:
    """Whether `load` would try it."""
    if path.is_dir():
        return any((path / name).is_file() for name in ("manifest.json", "config.json"))
    return path.suffix in (*_KERAS, ".tflite")


def of_bundle(bundle: Bundle) -> ComparedModel:
    """A bundle that is loaded already. Raises ModelError."""
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    classifier = CarefulClassifier(bundle)
    return ComparedModel(name, classifier, "normalised", bundle.digest, len(bundle.model), bundle.eye)


def of_keras(name: str, model: Any, preparation: Preparation) -> ComparedModel:
    """A Keras model in memory, run by TensorFlow."""
    return ComparedModel(name, KerasClassifier(model), preparation)


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


def _from_folder(path: Path, preparation: Preparation | None) -> ComparedModel:
    if (path / "manifest.json").is_file():
        candidate = of_bundle(Bundle.load(path))
    elif (path / "bundle" / "manifest.json").is_file():
        candidate = of_bundle(Bundle.load(path / "bundle"))
    elif (path / "model.keras").is_file():
        return _from_file(path / "model.keras", preparation, path.name)
    elif (path / "saved_model.pb").is_file():
        return _from_file(path, preparation)
    else:
        raise Problem(f"{path} holds neither a bundle nor a finished run.")
    return _as_the_car_reads(candidate, preparation)


def _from_file(path: Path, preparation: Preparation | None, name: str = "") -> ComparedModel:
    """As the car would take the file, however few digits it reads and however slow it is."""
    if intake(path) == "bundle":
        return _as_the_car_reads(of_bundle(read_archive(path)), preparation)
    bundle = take(path, Bundle.load(FACTORY_BUNDLE), GoldenTerms(accuracy=0.0, latency_ms=1e9)).bundle
    chosen = preparation or _suited(bundle.manifest.input.shape)
    kind = CarefulClassifier if chosen == "normalised" else Classifier  # as the car reads, or as the course
    title = ", ".join([name or path.stem, chosen, *bundle.manifest.peculiarities])
    content = path.read_bytes() if path.is_file() else bundle.model
    digest = hashlib.sha256(content).hexdigest()
    return ComparedModel(title, kind(bundle), chosen, digest, len(content))


def _as_the_car_reads(candidate: ComparedModel, preparation: Preparation | None) -> ComparedModel:
    if preparation in (None, candidate.preparation):
        return candidate
    raise Problem("A bundle's digits are always normalised: that is what the car does.")


def _suited(shape: tuple[int, ...]) -> Preparation:
    return "plain" if shape == (SIDE * SIDE,) else "normalised"


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
