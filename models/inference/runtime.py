"""Run a bundle's model on LiteRT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.bundle.digits import SIDE
from models.refusal import Reason, Refusal

if TYPE_CHECKING:  # needed for no more: the throw-away process does without
    from models.bundle.bundle import Bundle

_LARGEST_BATCH = 5
"""Digits in one run: the pad's boxes, a code's digits."""
_TINY = 1e-12
"""Stands for a probability of nothing where its logarithm is taken."""


class ModelError(Refusal):
    """A model that can't be run, or whose answer can't be used; the text says why."""

    def __init__(self, sentence: str, reason: Reason = Reason.BAD_MODEL) -> None:
        super().__init__(reason, sentence)


class Classifier:
    """A bundle's model in memory, ready to run on one thread. Not for use by two threads at once.

    One interpreter for a single digit and one for five stay allocated: nothing is sized while frames come.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Raises ModelError where LiteRT can't open the model or it does not keep to the manifest."""
        self._contract = bundle.manifest.input
        self._calibration = bundle.manifest.calibration
        self._labels = bundle.manifest.labels
        self._name = f"{bundle.manifest.name} {bundle.manifest.version}"
        self._single = self._runner(bundle.model, 1)
        self._five = self._runner(bundle.model, _LARGEST_BATCH)

    @property
    def labels(self) -> Sequence[str]:
        """What the columns of the answer stand for."""
        return self._labels

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities, (n, labels) float32, of normalised crops (n, 28, 28) uint8; n may be 0.

        Raises ValueError for another shape or dtype, ModelError where the model fails or answers no numbers.
        """
        return self._probabilities(self.answer(crops))

    def answer(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The model's own numbers, (n, labels) float32, not calibrated. Raises as `classify` does."""
        if crops.ndim != 3 or crops.shape[1:] != (SIDE, SIDE) or crops.dtype != np.uint8:
            raise ValueError(f"crops are (n, {SIDE}, {SIDE}) uint8, not {crops.shape} {crops.dtype}")
        count = len(crops)
        answer = np.empty((count, len(self._labels)), np.float32)
        for start in range(0, count, _LARGEST_BATCH):
            part = crops[start : start + _LARGEST_BATCH]
            runner = self._single if len(part) == 1 else self._five
            try:
                answer[start : start + len(part)] = runner.run(part)
            except (RuntimeError, ValueError) as error:  # of LiteRT, at what it sees in these very crops
                said = " ".join(str(error).split()).rstrip(".")
                raise ModelError(f"Model {self._name} failed at a picture: {said}.") from error
        if not np.isfinite(answer).all():
            raise ModelError(
                f"Model {self._name} answered with numbers that are not finite; it can't be used.",
                Reason.NOT_FINITE,
            )
        return answer

    def _runner(self, model: bytes, batch: int) -> _Runner:
        try:
            return _Runner(model, batch, self._contract, len(self._labels))
        except _Unfit as error:
            raise ModelError(f"Model {self._name} can't be run: {error}", error.reason) from None
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"Model {self._name} can't be run: {reason}") from None

    def _probabilities(self, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._calibration.output == "probabilities":
            answer = np.log(np.maximum(answer, _TINY))
        answer = answer / np.float32(self._calibration.temperature)
        answer -= answer.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(answer, out=answer)
        answer /= answer.sum(axis=1, keepdims=True)
        return answer


class _Unfit(Refusal):
    """A model with another input or output than its manifest says."""


class _Runner:
    """One interpreter, allocated once for one size of batch."""

    def __init__(self, model: bytes, batch: int, contract: Any, labels: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=model, num_threads=1)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise _Unfit(
                Reason.WRONG_INPUT if len(inputs) != 1 else Reason.WRONG_OUTPUT,
                f"it has {len(inputs)} inputs and {len(outputs)} outputs where one of each is due",
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        for what, detail, wrong in (
            ("input", inputs[0], Reason.WRONG_INPUT),
            ("output", outputs[0], Reason.WRONG_OUTPUT),
        ):
            if detail["dtype"] != np.float32:
                raise _Unfit(wrong, f"its {what} is {np.dtype(detail['dtype'])} where float32 is due")
        shape = (batch, *contract.shape)
        if tuple(inputs[0]["shape_signature"][1:]) != shape[1:]:
            raise _Unfit(
                Reason.WRONG_INPUT,
                f"it takes {tuple(inputs[0]['shape_signature'])}, its manifest says {shape}",
            )
        self._interpreter.resize_tensor_input(self._input, shape, strict=True)
        self._interpreter.allocate_tensors()
        answer = tuple(self._interpreter.get_output_details()[0]["shape"])
        if answer != (batch, labels):
            raise _Unfit(
                Reason.WRONG_OUTPUT, f"it answers {answer} for {batch} digits where {(batch, labels)} is due"
            )
        sign = -1.0 if contract.polarity == "dark_on_light" else 1.0
        self._scale = np.float32(sign * contract.scale)
        self._offset = np.float32(contract.offset + (255.0 * contract.scale if sign < 0 else 0.0))
        self._pixels = np.zeros((batch, SIDE, SIDE), np.float32)
        self._fed = self._pixels.reshape(shape)

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(crops)
        np.multiply(crops, self._scale, out=self._pixels[:count])
        if self._offset:
            self._pixels[:count] += self._offset
        # The rest holds earlier digits: harmless, their rows are dropped.
        self._interpreter.set_tensor(self._input, self._fed)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[:count], dtype=np.float32)
