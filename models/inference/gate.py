"""The gate: whether a crop shows a digit at all, asked before any model.

A ten-class model must answer one of ten, whatever it is shown; the gate lets it be asked only about digits.
It is the recognizer's own, a small network independent of the models: `gate/gate.tflite`, trained by
`tools/train/gate`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import models
from models.inference.normalise import SIDE

FILE = Path(models.__file__).parent / "gate" / "gate.tflite"


class GateError(Exception):
    """The gate's file is missing or damaged; the text says what to do."""


class Gate:
    """Asks the network about crops, eight at a time. Not for use by two threads at once."""

    def __init__(self, path: Path = FILE) -> None:
        """Raises GateError where the file can't be used."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
            self._interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise GateError(
                f"The gate {path} can't be used ({' '.join(str(error).split())}); install smartcar again."
            ) from None
        entry, answer = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._input, self._output = entry["index"], answer["index"]
        self._batch = int(entry["shape"][0])
        self._fed = np.zeros((self._batch, SIDE, SIDE, 1), np.float32)

    def score(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """For normalised crops (n, 28, 28) uint8 how likely each is a digit, (n,) float32; n may be 0."""
        scores = np.empty(len(crops), np.float32)
        for start in range(0, len(crops), self._batch):
            part = crops[start : start + self._batch]
            self._fed[: len(part), :, :, 0] = part
            self._interpreter.set_tensor(self._input, self._fed)
            self._interpreter.invoke()
            answer = self._interpreter.get_tensor(self._output)
            scores[start : start + len(part)] = answer[: len(part), 0]
        return scores
