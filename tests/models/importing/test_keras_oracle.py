"""Networks put together at random answer as Keras does. Needs TensorFlow: `make test-train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.importing import keras as reader
from models.importing.keras.activations import ACTIVATIONS as KNOWN_ACTIVATIONS
from tests.models.importing.test_keras_reader import answers

keras: Any = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: make test-train").keras

ACTIVATIONS = [*sorted(set(KNOWN_ACTIVATIONS) - {"softmax", "log_softmax", "exponential"}), "linear", None]


def random_network(rng: np.random.Generator) -> Any:
    """Layers of the allow-list with settings of all kinds, weights and statistics at random."""
    layers = keras.layers

    def any_of(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    def small(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def activation() -> Any:
        return any_of(*ACTIVATIONS)

    def strided() -> dict[str, Any]:
        chosen: dict[str, Any] = any_of({"strides": any_of(2, (1, 2))}, {"dilation_rate": 2}, {})
        return chosen

    start = keras.Input(any_of((28, 28, 1), (28, 28), (784,)))
    x = start if len(start.shape) == 4 else layers.Reshape((28, 28, 1))(start)
    for _ in range(small(2, 5)):
        kind = small(0, 14)
        padding = any_of("same", "valid")
        if kind == 0 and min(x.shape[1:3]) > 6:
            x = layers.Conv2D(
                small(1, 6), any_of(3, (2, 3), 1), padding=padding, activation=activation(), **strided()
            )(x)
        elif kind == 1 and min(x.shape[1:3]) > 6:
            depthwise = any_of({"strides": 2}, {"dilation_rate": 2}, {})
            x = layers.DepthwiseConv2D(
                any_of(3, (3, 2)),
                padding=padding,
                depth_multiplier=small(1, 3),
                activation=activation(),
                **depthwise,
            )(x)
        elif kind == 2 and min(x.shape[1:3]) > 6:
            x = layers.SeparableConv2D(small(1, 6), 3, padding=padding, use_bias=any_of(True, False))(x)
        elif kind == 3 and min(x.shape[1:3]) > 3:
            pool = any_of(layers.MaxPooling2D, layers.AveragePooling2D)
            x = pool(any_of(2, (3, 2)), strides=any_of(None, 1, 2), padding=padding)(x)
        elif kind == 4:
            x = layers.BatchNormalization(scale=any_of(True, False), center=any_of(True, False))(x)
        elif kind == 5:
            x = layers.ZeroPadding2D(any_of(1, (1, 2), ((0, 1), (2, 0))))(x)
        elif kind == 6:
            x = any_of(layers.ReLU(6.0), layers.ReLU(), layers.LeakyReLU(), layers.ReLU(3.0, 0.2))(x)
        elif kind == 7:
            x = layers.Rescaling(any_of(2.0, 0.5), any_of(0.0, -0.5))(x)
        elif kind == 8:
            branches = [layers.Conv2D(small(1, 4), 3, padding="same")(x) for _ in range(small(2, 3))]
            x = layers.Concatenate(axis=any_of(-1, 3))([x, *branches])
        elif kind == 9:
            x = layers.PReLU(any_of("uniform", "ones"), shared_axes=any_of(None, [1, 2]))(x)
        elif kind == 10:
            merge = any_of(layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Subtract)
            x = merge()([x, layers.Conv2D(x.shape[-1], 3, padding="same")(x)])
        elif kind == 11 and min(x.shape[1:3]) > 6:
            x = layers.Cropping2D(any_of(1, (1, 2), ((0, 1), (2, 0))))(x)
        elif kind == 12:
            x = any_of(layers.Resizing(small(5, 30), small(5, 30)), layers.UpSampling2D(any_of(2, (1, 2))))(x)
        elif kind == 13:
            x = layers.Normalization(mean=0.3, variance=any_of(0.5, 2.0))(x)
        elif kind == 14:
            inner = keras.Sequential(
                [
                    layers.RandomRotation(0.1),
                    layers.Conv2D(small(1, 4), 3, padding="same", activation=activation()),
                    layers.BatchNormalization(),
                    layers.AlphaDropout(0.1),
                ]
            )
            x = inner(x)
        else:
            x = layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same")(x)])
    end = any_of(layers.Flatten, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    x = layers.Dense(small(4, 12), activation=activation())(end()(x))
    network = keras.Model(start, layers.Dense(10, activation=any_of("softmax", None))(x))
    every = [each for layer in network.layers for each in (layer, *getattr(layer, "layers", ()))]
    for layer in every:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return network


@pytest.mark.parametrize("ending", [".h5", ".keras"])
@pytest.mark.parametrize("seed", range(30))
def test_a_random_network(seed: int, ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    network = random_network(rng)
    path = tmp_path / f"network{ending}"
    network.save(str(path))
    crops = rng.integers(0, 256, (5, 28, 28)).astype(np.uint8)
    x = (crops / np.float32(255)).reshape(5, *network.input_shape[1:])
    # Not predict: TensorFlow 2.21's graph optimiser fuses Conv2D, Add and LeakyReLU, and loses the slope.
    expected = network(x, training=False).numpy()
    found = answers(reader.read(path.read_bytes()), crops)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))
