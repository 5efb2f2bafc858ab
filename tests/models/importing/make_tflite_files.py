"""Make the `.tflite` files that the tests read, as TensorFlow's converter writes them: `python … FOLDER`.

Run under today's TensorFlow. It is one small network, trained a little, converted in every usual way.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parents[3] / "models" / "factory" / "golden.npz"


def trained(tensorflow: Any) -> tuple[Any, np.ndarray]:
    """A network with Flatten, and the digits it has learned, (n, 28, 28, 1) from 0 to 1."""
    keras = tensorflow.keras
    keras.utils.set_random_seed(1)
    with np.load(GOLDEN) as golden:
        x, y = (golden["crops"] / np.float32(255))[..., None], golden["labels"].astype(int)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 5, strides=3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=25, verbose=0)
    return model, x


def write(folder: Path, tensorflow: Any) -> list[Path]:
    """One file for each way of converting."""
    lite = tensorflow.lite
    model, x = trained(tensorflow)

    def shown() -> Iterator[list[np.ndarray]]:
        for digit in x[:100]:
            yield [digit[None]]

    def integer(converter: Any, kind: Any = None) -> None:
        converter.optimizations = [lite.Optimize.DEFAULT]
        converter.representative_dataset = shown
        converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
        if kind is not None:
            converter.inference_input_type = converter.inference_output_type = kind

    def dynamic_range(converter: Any) -> None:
        converter.optimizations = [lite.Optimize.DEFAULT]

    def float16(converter: Any) -> None:
        dynamic_range(converter)
        converter.target_spec.supported_types = [tensorflow.float16]

    def int16(converter: Any) -> None:
        integer(converter)
        converter.target_spec.supported_ops = [
            lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]

    ways: dict[str, Callable[[Any], None]] = {
        "float": lambda converter: None,
        "dynamic_range": dynamic_range,
        "float16": float16,
        "integer": integer,
        "integer_uint8": lambda converter: integer(converter, tensorflow.uint8),
        "integer_int8": lambda converter: integer(converter, tensorflow.int8),
        "int16_activations": int16,
    }
    converters = {name: (lite.TFLiteConverter.from_keras_model(model), way) for name, way in ways.items()}
    for batch in (1, 3):
        called = tensorflow.function(model).get_concrete_function(tensorflow.TensorSpec((batch, 28, 28, 1)))
        fixed = lite.TFLiteConverter.from_concrete_functions([called])
        converters[f"batch_of_{batch}"] = fixed, ways["float"]
    written = []
    with tempfile.TemporaryDirectory() as saved:
        model.export(saved, verbose=False)
        converters["saved_model"] = lite.TFLiteConverter.from_saved_model(saved), ways["float"]
        for name, (converter, way) in converters.items():
            way(converter)
            path = folder / f"{name}.tflite"
            path.write_bytes(converter.convert())
            written.append(path)
    return written


def main() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow

    write(Path(sys.argv[1]), tensorflow)


if __name__ == "__main__":
    main()
