"""Run a bundle's model on LiteRT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from messages.errors import ErrorCode
from models.bundle.digits import SIDE
from models.inference.input_preparation import Contract, InputPreparation, Quantization
from models.refusal import Refusal

_LARGEST_BATCH = 5
"""Digits in one run: the pad's boxes, a code's digits."""
_LARGEST_FIXED_BATCH = 64
_DTYPES = (np.float32, np.uint8, np.int8, np.int16)
"""Types of number that a model may take and give; integers stand for real numbers."""


class ModelError(Refusal):
    """A model that can't be run, or whose answer can't be used; the text says why."""

    def __init__(self, sentence: str, reason: ErrorCode = ErrorCode.BAD_MODEL) -> None:
        super().__init__(reason, sentence)


class Runnable(Protocol):
    """What running a model takes: a bundle, or as much of one as there is yet."""

    @property
    def manifest(self) -> Any: ...

    @property
    def model(self) -> bytes: ...


class Classifier:
    """A bundle's model in memory, ready to run on one thread. Not for use by two threads at once.

    One interpreter for a single digit and one for five stay allocated: nothing is sized while frames come. A
    model whose batch is fixed gets as many digits at a time as it takes.
    """

    def __init__(self, bundle: Runnable) -> None:
        """Raises ModelError where LiteRT can't open the model or it does not keep to the manifest."""
        self._contract = bundle.manifest.input
        self._calibration = bundle.manifest.calibration
        self._labels: Sequence[str] = bundle.manifest.labels
        self._name = f"{bundle.manifest.name} {bundle.manifest.version}"
        self._several = self._runner(bundle.model, _LARGEST_BATCH)
        self._single = self._several if self._several.capacity == 1 else self._runner(bundle.model, 1)

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
        count, start = len(crops), 0
        answer = np.empty((count, len(self._labels)), np.float32)
        while start < count:
            few = count - start <= self._several.capacity // 2  # one by one they cost less than a whole run
            runner = self._single if few else self._several
            part = crops[start : start + runner.capacity]
            try:
                answer[start : start + len(part)] = runner.run(part)
            except (
                RuntimeError,
                ValueError,
                _Unfit,
            ) as error:  # of LiteRT, at what it sees in these very crops
                said = " ".join(str(error).split()).rstrip(".")
                raise ModelError(f"Model {self._name} failed at a picture: {said}.") from error
            start += len(part)
        if not np.isfinite(answer).all():
            raise ModelError(
                f"Model {self._name} answered with numbers that are not finite; it can't be used.",
                ErrorCode.NOT_FINITE,
            )
        return answer

    def _runner(self, model: bytes, batch: int) -> _Runner:
        try:
            try:
                return _Runner(model, batch, self._contract, len(self._labels))
            except (ValueError, RuntimeError, _WrongCount):
                return _Runner(model, None, self._contract, len(self._labels))
        except _Unfit as error:
            raise ModelError(f"Model {self._name} can't be run: {error}", error.reason) from None
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"Model {self._name} can't be run: {reason}") from None

    def _probabilities(self, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._calibration.output == "probabilities":
            answer = np.log(np.maximum(answer, np.float32(self._calibration.least)))
        answer = answer / np.float32(self._calibration.temperature)
        answer -= answer.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(answer, out=answer)
        answer /= answer.sum(axis=1, keepdims=True)
        return answer


class _Unfit(Refusal):
    """A model with another input or output than its manifest says."""


class _WrongCount(_Unfit):
    """A model that gives another number of answers than it was given digits."""


class _Runner:
    """One interpreter, allocated once for a batch of one size."""

    def __init__(self, model: bytes, batch: int | None, contract: Contract, labels: int) -> None:
        """For `batch` digits at a time, or where that is None for as many as the file itself says."""
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=model, num_threads=1)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise _Unfit(
                ErrorCode.WRONG_INPUT if len(inputs) != 1 else ErrorCode.WRONG_OUTPUT,
                f"it has {len(inputs)} inputs and {len(outputs)} outputs where one of each is due",
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        if inputs[0]["dtype"] != np.dtype(contract.dtype):
            raise _Unfit(
                ErrorCode.WRONG_INPUT,
                f"its input is {np.dtype(inputs[0]['dtype'])} where {contract.dtype} is due",
            )
        self._answers = _quantization(outputs[0])
        self._shape = _input_shape(inputs[0], batch, contract.shape)
        self.capacity = self._shape[0] if len(self._shape) > len(contract.shape) else 1
        if self._shape != tuple(inputs[0]["shape"]):
            self._interpreter.resize_tensor_input(self._input, self._shape, strict=True)
        self._interpreter.allocate_tensors()
        self._preparation = InputPreparation(contract, self.capacity, _quantization(inputs[0]))
        self._labels = labels
        self.run(np.zeros((self.capacity, SIDE, SIDE), np.uint8))  # only then the answer's shape is known

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers, (n, labels), to `capacity` crops or fewer. Raises _WrongCount."""
        self._interpreter.set_tensor(self._input, self._preparation.of(crops).reshape(self._shape))
        self._interpreter.invoke()
        answer = self._interpreter.get_tensor(self._output)
        if answer.size != self.capacity * self._labels or self._labels not in answer.shape:
            raise _WrongCount(
                ErrorCode.WRONG_OUTPUT,
                f"it answers {answer.shape} for {self.capacity} digits where "
                f"{(self.capacity, self._labels)} is due",
            )
        return self._answers.real(answer.reshape(self.capacity, self._labels)[: len(crops)])


def _input_shape(detail: dict[str, Any], batch: int | None, digit: Sequence[int]) -> tuple[int, ...]:
    """The input tensor's shape for `batch` digits, or as many as the file says; a file may have no batch."""
    signature = tuple(int(length) for length in detail["shape_signature"])
    with_batch = (batch or int([*detail["shape"], 1][0]), *digit)
    shape = with_batch if len(signature) > len(digit) else tuple(digit)
    pairs = list(zip(signature, shape, strict=False))[len(shape) - len(digit) :]
    if len(signature) != len(shape) or any(length not in (-1, due) for length, due in pairs):
        raise _Unfit(ErrorCode.WRONG_INPUT, f"it takes {signature}, its manifest says {with_batch}")
    if with_batch[0] > _LARGEST_FIXED_BATCH:
        raise _Unfit(
            ErrorCode.WRONG_INPUT, f"it takes {with_batch[0]} digits at a time; convert it with a batch of 1"
        )
    return shape


def _quantization(detail: dict[str, Any]) -> Quantization:
    """How the numbers of a tensor are stored. Raises _Unfit for a type that no digit model has."""
    if detail["dtype"] not in _DTYPES:
        raise _Unfit(
            ErrorCode.WRONG_OUTPUT,
            f"it answers {np.dtype(detail['dtype'])}, where a number for each digit is due",
        )
    return Quantization(detail["dtype"], *detail["quantization"])
