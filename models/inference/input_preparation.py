"""Turn crops into what a network takes: its size, its range of values, its type of number."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle.digits import SIDE
from models.bundle.input_shape import picture_shape

Values = NDArray[np.float32]


class Contract(Protocol):
    """How crops become input: `models.bundle.manifest.InputContract`, or anything like it."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def scale(self) -> float: ...
    @property
    def offset(self) -> float: ...
    @property
    def polarity(self) -> str: ...
    @property
    def fit(self) -> str: ...


class Quantization:
    """Integers that stand for real numbers: real = scale × (integer − zero point)."""

    def __init__(self, dtype: Any, scale: float, zero_point: int) -> None:
        """A scale of 0 says that the integers are the numbers themselves."""
        self._dtype = np.dtype(dtype)
        self._scale, self._zero_point = np.float32(scale or 1.0), np.float32(zero_point if scale else 0)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest integer."""
        limits = np.iinfo(self._dtype)
        return int(limits.min), int(limits.max)

    def stored(self, values: Values) -> NDArray[Any]:
        """Real numbers as the tensor holds them, the nearest that it can."""
        if self._dtype == np.float32:
            return values
        integers = np.rint(values / self._scale + self._zero_point)
        return np.asarray(np.clip(integers, *self.limits), self._dtype)

    def real(self, held: NDArray[Any]) -> Values:
        """The real numbers that a tensor holds."""
        if self._dtype == np.float32:
            return np.asarray(held, np.float32)
        return (held.astype(np.float32) - self._zero_point) * self._scale


class InputPreparation:
    """Makes the input of one contract for up to `batch` crops at once, in buffers that stay."""

    def __init__(self, contract: Contract, batch: int, quantization: Quantization) -> None:
        """Raises ValueError where the contract's shape is no picture's."""
        picture = picture_shape(contract.shape)
        if picture is None:
            raise ValueError(f"an input of {tuple(contract.shape)} is no picture")
        sign = -1.0 if contract.polarity == "dark_on_light" else 1.0
        self._scale = np.float32(sign * contract.scale)
        self._offset = np.float32(contract.offset + (255.0 * contract.scale if sign < 0 else 0.0))
        self._quantization = quantization
        self._pixels = np.zeros((batch, SIDE, SIDE), np.float32)
        self._resize: Values | None = None
        if picture.side != SIDE:
            self._resize = (margins if contract.fit == "padded" else interpolation)(SIDE, picture.side)
        if self._resize is None and picture.channels == 1:
            self._fed = self._pixels.reshape(batch, *contract.shape)
            self._pictures = None
            return
        self._fed = np.zeros((batch, *contract.shape), np.float32)
        size = (picture.side, picture.side)
        axes = (picture.channels, *size) if picture.channels_first else (*size, picture.channels)
        self._pictures = self._fed.reshape(batch, *axes)
        self._channel_axis = 1 if picture.channels_first else -1

    def of(self, crops: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor for `batch` digits, of crops (n, 28, 28); what follows the n rows is of earlier ones."""
        count = len(crops)
        if self._resize is not None:
            values = self._resize @ crops.astype(np.float32) @ self._resize.T * self._scale + self._offset
        else:
            values = self._pixels[:count]
            np.multiply(crops, self._scale, out=values)
            if self._offset:
                values += self._offset
        if self._pictures is not None:
            self._pictures[:count] = np.expand_dims(values, self._channel_axis)
        return self._quantization.stored(self._fed)


def interpolation(source: int, target: int) -> Values:
    """Weights (target, source) that resize by linear interpolation, smoothed where it gets smaller."""
    step = source / target
    centres = (np.arange(target)[:, None] + 0.5) * step - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source) - centres) / max(step, 1.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def margins(source: int, target: int) -> Values:
    """Weights (target, source) that put the source in the middle of a larger target, unchanged."""
    return np.eye(target, source, -((target - source) // 2), dtype=np.float32)
