"""The course's experiments, ex10_2 to ex10_12, trained as the course trains them.

Pixels are shrunk to 28×28 and divided by 255, no more: see `plain`. All 60,000 training digits are used and
the last epoch's weights are the model; only early stopping holds digits out, to choose by.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.train import checkpoint
from tools.train.data import datasets
from tools.train.data.datasets import Pictures
from tools.train.presets import Preset

Pixels = NDArray[np.uint8]
History = list[dict[str, float]]

LABELS = tuple("0123456789")
SIDE = 28


@dataclass(frozen=True)
class CourseSettings:
    """What a preset leaves open."""

    seed: int = 0
    patience: int = 0
    """End after so many epochs without a better score on held-out digits; 0: go on to the last epoch."""
    limit: int = 0
    """Train on the first so many digits only; 0: on all."""
    threads: int = 0
    """For TensorFlow; 0 leaves it to TensorFlow."""


def plain(ink: Pixels) -> Pixels:
    """Ink bright on black (h, w) as the course hands it to its network: shrunk to (28, 28), in its place.

    The cubic interpolation is that of its drawing pad, ex10_13.
    """
    if ink.shape == (SIDE, SIDE):
        return ink
    return np.asarray(cv2.resize(ink, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def as_input(crops: Pixels) -> NDArray[np.float32]:
    """Crops (n, 28, 28) uint8 as the course's networks take them: (n, 784) float32, 0…1."""
    return crops.reshape(len(crops), SIDE * SIDE).astype(np.float32) / np.float32(255)


def digits(
    folder: Path, settings: CourseSettings, extra: Pictures | None = None
) -> tuple[Pictures, Pictures | None]:
    """What is trained on, and what early stopping chooses by (None without). Raises DataError.

    `extra` digits, such as drawings from the pad, are trained on too.
    """
    train, held_out = datasets.mnist(folder, "train"), datasets.mnist(folder, "validation")
    if not settings.patience:
        train = _joined(train, held_out)
    if settings.limit:
        train = Pictures(train.images[: settings.limit], train.labels[: settings.limit])
    if extra is not None and len(extra):
        train = _joined(train, extra)
    return train, held_out if settings.patience else None


def build(preset: Preset, seed: int) -> Any:
    """The preset's Keras model from (784,) in 0…1 to ten probabilities, compiled as in the course."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    model = keras.Sequential([layers.Input((SIDE * SIDE,))])
    for units in preset.hidden:
        model.add(layers.Dense(units, activation=preset.activation))
    if preset.dropout:
        model.add(layers.Dropout(preset.dropout))
    model.add(layers.Dense(len(LABELS), activation="softmax"))
    optimizer = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[preset.optimizer]
    model.compile(
        optimizer(learning_rate=preset.learning_rate), loss="categorical_crossentropy", metrics=["acc"]
    )
    return model


def fit(
    folder: Path,
    run: Path,
    preset: Preset,
    settings: CourseSettings,
    *,
    extra: Pictures | None = None,
    resume: bool = False,
    on_batch: Callable[[int, float], None] = lambda epoch, share: None,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> tuple[Any, History]:
    """Train the preset on the sets in `folder`; the model and a row an epoch.

    The checkpoint in `run` is that of the last whole epoch; with `resume` the run goes on from it, to the
    same weights as if nothing had happened. `on_batch` is told the epoch (from 1) and how much of it is done
    (0 to 1). Raises DataError where MNIST is missing.
    """
    import keras
    import tensorflow

    if settings.threads:
        tensorflow.config.threading.set_intra_op_parallelism_threads(settings.threads)
    train, held_out = digits(folder, settings, extra)
    watched = datasets.mnist(folder, "test") if preset.watched else None
    model, done, best = build(preset, settings.seed), 0, _Best()
    history: History = []
    if resume and (kept := checkpoint.restore(run, model)) is not None:
        done, history = kept.epoch, kept.history
        best = _Best(kept.more["best"], kept.more["best_epoch"])
    one_hot = np.eye(len(LABELS), dtype=np.float32)[train.labels]
    batches = max(1, -(-len(train) // preset.batch))
    for number in range(done + 1, preset.epochs + 1):
        if settings.patience and number - 1 - best.epoch >= settings.patience and best.epoch:
            break
        started = time.monotonic()
        order = np.random.default_rng([settings.seed, number]).permutation(len(train))
        checkpoint.seed_dropout(model, settings.seed, number)
        progress = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs=None, number=number: on_batch(number, (batch + 1) / batches)
        )
        told = model.fit(
            as_input(train.images[order]),
            one_hot[order],
            batch_size=preset.batch,
            shuffle=False,
            verbose=0,
            callbacks=[progress],
        )
        row = {
            "epoch": number,
            "loss": float(told.history["loss"][-1]),
            "train": float(told.history["acc"][-1]),
        }
        for name, part in (("held_out", held_out), ("test", watched)):
            if part is not None:
                row[f"{name}_loss"], row[name] = score(model, part)
        row["seconds"] = round(time.monotonic() - started, 2)
        history.append(row)
        if held_out is not None and best.is_beaten_by(row["held_out"], number):
            model.save(run / "best.keras")
        checkpoint.save(run, model, number, history, best=best.score, best_epoch=best.epoch)
        on_epoch(row)
    if settings.patience and (run / "best.keras").is_file():
        model = keras.saving.load_model(run / "best.keras")
    return model, history


class _Best:
    """The best held-out score so far, and the epoch that reached it."""

    def __init__(self, score: float = -1.0, epoch: int = 0) -> None:
        self.score, self.epoch = score, epoch

    def is_beaten_by(self, score: float, epoch: int) -> bool:
        """Take `score` where it is better."""
        if score <= self.score:
            return False
        self.score, self.epoch = score, epoch
        return True


def score(model: Any, pictures: Pictures) -> tuple[float, float]:
    """Loss and share right of a course model on pictures, as `model.evaluate` tells them."""
    one_hot = np.eye(len(LABELS), dtype=np.float32)[pictures.labels]
    loss, share = model.evaluate(as_input(pictures.images), one_hot, batch_size=500, verbose=0)
    return float(loss), float(share)


def _joined(first: Pictures, second: Pictures) -> Pictures:
    return Pictures(
        np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels])
    )
