"""Train the network and keep the epoch whose mean of weights reads the validation digits best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle.bundle import Bundle
from tools.train import checkpoint, runs
from tools.train.average import Average
from tools.train.data.datasets import PenDigit
from tools.train.data.mixture import Mixture
from tools.train.epochs import epochs, validation, varied_validation
from tools.train.network import LABELS, build
from tools.train.optimizer import muon
from tools.train.start import begin_from

Pixels = NDArray[np.uint8]
Sets = dict[str, tuple[Pixels, NDArray[np.int64]]]


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides a run; kept in its config.json."""

    epochs: int = 40
    minutes: float | None = None
    """End by then, however far the epochs are: the learning rate falls with the time that has passed."""
    width: int = 16
    seed: int = 0
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.03
    mixture: Mixture = field(default_factory=Mixture)
    threads: int = 0
    """For TensorFlow; 0 leaves it to TensorFlow."""
    start: str | None = None
    """The folder of a bundle to begin from, instead of from nothing."""
    dtype: str = "float32"
    """What is computed in; `mixed_bfloat16` is faster on processors that have it."""
    patience: int = 0
    """End after so many epochs without a better one; 0: go on."""

    def described(self) -> dict[str, Any]:
        """As a manifest tells them: the bundle it began from by its name and digest, not by its place."""
        said = asdict(self)
        if self.start is not None:
            start = Bundle.load(Path(self.start))
            said["start"] = f"{start.manifest.name} {start.manifest.version}, {start.digest}"
        return said


def fit(
    folder: Path,
    run: Path,
    settings: TrainingSettings,
    say: Callable[[str], None] = print,
    *,
    drawings: Sequence[PenDigit] = (),
    resume: bool = False,
) -> Any:
    """Train on the sets in `folder` and on `drawings`; the best model, in `run`/model.keras too, is returned.

    `run`/config.json and metrics.json say how it was made and how it went. The checkpoint in `run` is that of
    the last whole epoch; with `resume` the run goes on from it. Raises DataError where a set is missing.
    """
    import keras
    import tensorflow

    if settings.threads:
        tensorflow.config.threading.set_intra_op_parallelism_threads(settings.threads)
    sets = validation(folder) | varied_validation(folder)
    run.mkdir(parents=True, exist_ok=True)
    runs.add(run, runs.CONFIG, {"settings": asdict(settings)})
    kept = build(settings.width, settings.seed)
    if settings.start is not None and not (resume and checkpoint.exists(run)):
        begin_from(kept, Bundle.load(Path(settings.start)), as_input(sets["mnist"][0]))
    model = build(settings.width, settings.seed, settings.dtype)
    model.set_weights(kept.get_weights())
    pace = _Pace(settings)
    model.compile(
        muon(settings.learning_rate, settings.weight_decay),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
    )
    say(f"{model.count_params()} parameters, {settings.mixture.total} digits an epoch")
    one_hot = np.eye(len(LABELS), dtype=np.float32)
    history: list[dict[str, float]] = []
    done, best, best_epoch = 0, -1.0, 0
    average, steps = Average(model), settings.mixture.total // settings.batch
    if resume and (held := checkpoint.restore(run, model)) is not None:
        done, history = held.epoch, held.history
        best, best_epoch = held.more["best"], held.more["best_epoch"]
        pace.go_on(done, history[-1]["minutes"])
        average.go_on(held.beside, done * steps)
    follow = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs=None: pace.step(model.optimizer),
        on_train_batch_end=lambda batch, logs=None: average.step(),
    )
    made = epochs(folder, settings.mixture, settings.seed, done, settings.epochs, drawings)
    for number, (crops, labels) in enumerate(made, done):
        checkpoint.seed_dropout(model, settings.seed, number)
        whole = len(crops) // settings.batch * settings.batch
        fed = as_input(crops[:whole])
        told = model.fit(
            fed,
            one_hot[labels[:whole]],
            batch_size=settings.batch,
            verbose=0,
            shuffle=False,
            callbacks=[follow],
        )
        kept.set_weights(average.weights)
        right = {name: accuracy(kept, *part) for name, part in sets.items()}
        loss = float(told.history["loss"][-1])
        minutes = pace.minutes
        history.append({"epoch": number + 1, "loss": loss, "minutes": round(minutes, 2), **right})
        say(
            f"epoch {number + 1}/{settings.epochs}: loss {loss:.4f}, "
            + ", ".join(f"{name} {share:.2%}" for name, share in right.items())
            + f", {minutes:.1f} min"
        )
        score = float(np.mean(list(right.values())))
        if score >= best:
            best, best_epoch = score, number + 1
            kept.save(run / "model.keras")
        runs.add(run, runs.METRICS, {"history": history})
        checkpoint.save(run, model, number + 1, history, average.weights, best=best, best_epoch=best_epoch)
        if pace.progress >= 1 or 0 < settings.patience <= number + 1 - best_epoch:
            break
    made.close()
    return keras.saving.load_model(run / "model.keras", compile=False)


class _Pace:
    """The learning rate of every step: a short rise, then half a cosine down, over steps or over time."""

    def __init__(self, settings: TrainingSettings) -> None:
        self._settings = settings
        self._steps = settings.epochs * (settings.mixture.total // settings.batch)
        self._warm = min(500, self._steps // 10)
        self._done = 0
        self._started = time.monotonic()

    def go_on(self, epochs: int, minutes: float) -> None:
        """As if so many epochs were done already, in so many minutes."""
        self._done = epochs * (self._settings.mixture.total // self._settings.batch)
        self._started -= minutes * 60

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._started) / 60

    @property
    def progress(self) -> float:
        """From 0 to 1, and beyond where time is up."""
        by_steps = self._done / self._steps
        limit = self._settings.minutes
        return by_steps if limit is None else max(by_steps, self.minutes / limit)

    def step(self, optimizer: Any) -> None:
        rise = min(1.0, (self._done + 1) / (self._warm + 1))
        fall = 0.005 + 0.995 * 0.5 * (1 + np.cos(np.pi * min(1.0, self.progress)))
        optimizer.learning_rate = self._settings.learning_rate * rise * fall
        self._done += 1


def as_input(crops: Pixels) -> NDArray[np.float32]:
    """Crops (n, 28, 28) uint8 as the network takes them: (n, 28, 28, 1) float32, 0…1."""
    return crops[..., None].astype(np.float32) / np.float32(255)


def accuracy(model: Any, crops: Pixels, labels: NDArray[np.int64]) -> float:
    """Share of the crops that the model reads right."""
    return float((logits(model, crops).argmax(axis=1) == labels).mean())


def logits(model: Any, crops: Pixels) -> NDArray[np.float32]:
    """The model's raw answers, (n, 10)."""
    return np.asarray(model.predict(as_input(crops), batch_size=500, verbose=0), np.float32)
