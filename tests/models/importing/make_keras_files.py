"""Make the Keras files that the tests read, and what Keras itself answers: `python … FOLDER NAME [KIND…]`.

Run once under each Keras that is worth a file, in an environment of its own:

    today's Keras 3         pip install tensorflow              make_keras_files.py keras_files keras3
    the last Keras 2        pip install tensorflow tf_keras     make_keras_files.py keras_files keras2
    TensorFlow 2.12         pip install tensorflow==2.12.1      make_keras_files.py keras_files tf212

`tf24` is written beside `tf212`: the same network in the layout of TensorFlow 2.4, whose Python is hard to
come by: names in byte strings of fixed length, the network in one of variable length.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import h5py
import numpy as np

FACTORY = Path(__file__).resolve().parents[3] / "models" / "factory"


def keras_of(name: str) -> Any:
    """The Keras that the files are to be made with."""
    if name == "keras2":
        import tf_keras

        return tf_keras
    import tensorflow

    return tensorflow.keras


def course(keras: Any) -> Any:
    """The course's network (ex10_12), narrow."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Dense(10, input_dim=784, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(12, activation="sigmoid"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def convolutional(keras: Any) -> Any:
    """What a student builds next: Sequential, without softmax."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(4, 5, strides=2, activation="relu", padding="same"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(6, (3, 2), activation="tanh"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def everything(keras: Any) -> Any:
    """A functional graph with every layer the car knows."""
    layers = keras.layers
    start = keras.Input((28, 28))
    x = layers.Reshape((28, -1, 1))(start)
    x = layers.Rescaling(2.0, offset=-0.5)(x)
    x = layers.ZeroPadding2D(((1, 0), (2, 1)))(x)
    x = layers.GaussianNoise(0.1)(x)
    x = layers.Conv2D(5, 3, strides=(2, 1), use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.ReLU(max_value=4.0, negative_slope=0.1)(x)
    y = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", activation="elu")(x)
    y = layers.SpatialDropout2D(0.1)(y)
    z = layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="swish")(y)
    x = layers.Add()([x, y, z])
    x = layers.AveragePooling2D((2, 3), strides=2, padding="same")(x)
    x = layers.Activation("relu6")(x) if hasattr(keras.activations, "relu6") else layers.ReLU(6.0)(x)
    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2)(x)
    x = layers.LeakyReLU()(x)
    largest = layers.GlobalMaxPooling2D()(x)
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    mean = layers.Flatten()(mean)
    x = layers.Add()([largest, mean])
    x = layers.GaussianDropout(0.1)(x)
    x = layers.Dense(12)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("sigmoid")(x)
    x = layers.Dense(10)(x)
    return keras.Model(start, layers.Softmax()(x))


def nested(keras: Any) -> Any:
    """Models within a model, with augmentation, learned normalisation, branches and newer activations."""
    layers = keras.layers
    augmentation = keras.Sequential(
        [layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.RandomTranslation(0.1, 0.1)]
    )
    features = keras.Sequential(
        [
            layers.Conv2D(4, 5, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()]),
        ]
    )
    start = keras.Input((10, 10, 4))
    one, other = layers.Conv2D(3, 3, strides=2)(start), layers.Conv2D(2, 3, strides=2)(start)
    branches = keras.Model(start, layers.Concatenate()([one, layers.PReLU(shared_axes=[1, 2])(other)]))
    normalization = layers.Normalization()
    with np.load(FACTORY / "golden.npz") as golden:
        normalization.adapt((golden["crops"][:100, ..., None] / 255).astype(np.float32))
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            augmentation,
            normalization,
            features,
            branches,
            layers.Flatten(),
            layers.AlphaDropout(0.1),
            layers.Dense(12, activation="gelu"),
            layers.Dense(12, activation="selu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


KINDS = {"course": course, "convolutional": convolutional, "everything": everything, "nested": nested}


def train(model: Any, crops: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """A little, on the golden digits turned by a pixel: enough to tell digits apart."""
    shifted = [np.roll(crops, shift, axis=axis) for axis in (1, 2) for shift in (-1, 0, 1)]
    x = np.concatenate(shifted).astype(np.float32) / 255
    x = x.reshape(len(x), *model.input_shape[1:])
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    if model.layers[-1].__class__.__name__ != "Softmax" and "softmax" not in str(
        model.layers[-1].get_config()
    ):
        model.compile(optimizer="adam", loss="mse")
    model.fit(x, np.eye(10)[np.tile(labels, 6)], epochs=epochs, batch_size=32, verbose=0)


def save(keras: Any, model: Any, path: Path, name: str) -> None:
    """As `model.save` does; with the optimizer, which makes it three times as large, in one file only."""
    if path.name != "course-keras3.h5":
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        model = copy
    chosen = {"save_format": "keras_v3"} if name == "tf212" and path.suffix == ".keras" else {}
    model.save(str(path), **chosen)


def save_as_2_4(model: Any, path: Path) -> None:
    """The layout of TensorFlow 2.4's `hdf5_format.save_model_to_hdf5`."""
    config = {"class_name": type(model).__name__, "config": model.get_config()}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.4.0"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(config, default=lambda number: number.tolist()).encode()
        file.attrs["training_config"] = json.dumps(
            {
                "loss": "categorical_crossentropy",
                "metrics": ["acc"],
                "optimizer_config": {"class_name": "Adam", "config": {}},
            }
        ).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([layer.name.encode() for layer in model.layers])
        weights.attrs["backend"] = b"tensorflow"
        weights.attrs["keras_version"] = b"2.4.0"
        for layer in model.layers:
            group = weights.create_group(layer.name)
            names = [weight.name.encode() for weight in layer.weights]
            group.attrs["weight_names"] = np.array(names) if names else np.array([])
            for weight, value in zip(layer.weights, layer.get_weights(), strict=True):
                group.create_dataset(weight.name, data=value)


def main() -> None:
    folder, name, *kinds = Path(sys.argv[1]), *sys.argv[2:]
    keras = keras_of(name)
    keras.utils.set_random_seed(1)
    with np.load(FACTORY / "golden.npz") as golden:
        crops, labels = golden["crops"], golden["labels"].astype(int)
    shown = crops[::40]
    expected = {"crops": shown}
    for kind in kinds or KINDS:
        model = KINDS[kind](keras)
        train(model, crops, labels, epochs=25 if kind == "course" else 12)
        x = (shown / np.float32(255)).reshape(len(shown), *model.input_shape[1:])
        for ending in (".h5", ".keras"):
            path = folder / f"{kind}-{name}{ending}"
            save(keras, model, path, name)
            expected[path.name] = model.predict(x, verbose=0)
        if name == "tf212":
            path = folder / f"{kind}-tf24.h5"
            save_as_2_4(model, path)
            expected[path.name] = model.predict(x, verbose=0)
    np.savez_compressed(folder / f"expected-{'-'.join([*kinds, name])}.npz", **expected)


if __name__ == "__main__":
    main()
