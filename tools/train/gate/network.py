"""The gate's network: its layers, its training, and the file it becomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.terminal.output import say
from tools.train.gate.digits import Pixels


def network() -> Any:
    """About 16,000 parameters, 0.7 million multiplications a crop."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="crop")
    x = layers.Rescaling(1 / 255)(image)
    for filters, stride in ((12, 2), (24, 2), (28, 1), (28, 2)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid", name="digit")(x))


def write_tflite(model: Any, path: Path, batch: int) -> None:
    """The trained network as TFLite for batches of `batch` crops. Raises ValueError where the two differ."""
    import keras
    import tensorflow as tf

    entry = keras.Input(batch_shape=(batch, 28, 28, 1), name="crop")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(entry, model(entry)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    content = converter.convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    probe = np.random.default_rng(0).uniform(0, 255, (batch, 28, 28, 1)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], probe)
    interpreter.invoke()
    written = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if not np.allclose(written, model.predict(probe, verbose=0), atol=5e-3):
        raise ValueError("the written network answers otherwise than the trained one")
    path.write_bytes(content)


@dataclass(frozen=True)
class CropClass:
    """Crops of one kind, (n, 28, 28), and whether they are digits."""

    name: str
    crops: Pixels
    digits: bool


def train(kinds: Sequence[CropClass], out: Path, epochs: int, seed: int) -> None:
    """Fit, report on a tenth held back, and write `gate.tflite` and `gate.json` into `out`."""
    import keras

    keras.utils.set_random_seed(seed)
    inputs = np.concatenate([kind.crops for kind in kinds])
    which = np.repeat(np.arange(len(kinds)), [len(kind.crops) for kind in kinds])
    truth = np.array([kind.digits for kind in kinds], np.float32)[which]
    # A lone upright stroke in a picture is a one as well as anything: it says little.
    narrow = (inputs.max(axis=1) > 60).sum(axis=1) < 7
    weight = np.where((truth < 0.5) & narrow, 0.25, 1.0).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(inputs))
    inputs, truth, which, weight = inputs[order][..., None], truth[order], which[order], weight[order]
    held = len(inputs) // 10
    model = network()
    steps = epochs * ((len(inputs) - held) // 256)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, steps, 1e-2)
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=1e-4), "binary_crossentropy")
    fed = inputs.astype(np.float32)
    model.fit(fed[held:], truth[held:], sample_weight=weight[held:], batch_size=256, epochs=epochs, verbose=2)
    scores = model.predict(fed[:held], batch_size=512, verbose=0)[:, 0]
    passed = {
        str(least): {
            kind.name: round(float((scores[which[:held] == number] >= least).mean()), 4)
            for number, kind in enumerate(kinds)
        }
        for least in (0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.95)
    }
    for least, shares in passed.items():
        say(f"{least} passes: " + ", ".join(f"{name} {share:.2%}" for name, share in shares.items()))
    out.mkdir(parents=True, exist_ok=True)
    write_tflite(model, out / "gate.tflite", batch=8)
    note = {
        "parameters": int(model.count_params()),
        "crops": {kind.name: len(kind.crops) for kind in kinds},
        "passed_of_held_back": passed,
        "epochs": epochs,
        "seed": seed,
    }
    (out / "gate.json").write_text(json.dumps(note, indent=2) + "\n")
