"""A network as plain data: what a Keras file is read into, and a `.tflite` is written from.

Values are numbered; each has a shape without the batch, which always comes first. Images are (height, width,
channels). Weights are float32 and lie as Keras keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Shape = tuple[int, ...]
Function = Literal[
    "abs", "elu", "exp", "gelu", "gelu_tanh", "leaky_relu", "log", "log_softmax", "relu", "relu6",
    "sigmoid", "silu", "softmax", "tanh",
]  # fmt: skip
Combination = Literal["add", "subtract", "multiply", "divide", "maximum", "minimum"]


@dataclass(frozen=True)
class Operation:
    """One step: values in, one value out."""

    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class Dense(Operation):
    """x · kernel + bias over the last axis; kernel (in, out), bias (out,)."""

    kernel: Weights
    bias: Weights


@dataclass(frozen=True)
class Convolution(Operation):
    """2-D convolution; kernel (height, width, in, out), where `depthwise` (height, width, in, multiplier)."""

    kernel: Weights
    bias: Weights
    strides: tuple[int, int]
    dilation: tuple[int, int]
    same: bool
    depthwise: bool = False


@dataclass(frozen=True)
class Pool(Operation):
    """The largest or the mean of each window; what lies outside the image does not count."""

    largest: bool
    size: tuple[int, int]
    strides: tuple[int, int]
    same: bool


@dataclass(frozen=True)
class GlobalPool(Operation):
    """The largest or the mean of each channel."""

    largest: bool
    keep_axes: bool


@dataclass(frozen=True)
class Reshape(Operation):
    """The same numbers in the output's shape."""


@dataclass(frozen=True)
class Activate(Operation):
    """A function of each number, or (log) softmax over the last axis; `slope` is leaky_relu's below zero."""

    function: Function
    slope: float = 0.0


@dataclass(frozen=True)
class Affine(Operation):
    """x × scale + offset, both of the last axes of x, or 1 in place of a length."""

    scale: Weights
    offset: Weights


@dataclass(frozen=True)
class AtMost(Operation):
    """The smaller of each number and `limit`."""

    limit: float


@dataclass(frozen=True)
class Pad(Operation):
    """Zeros around the image: rows above and below, columns left and right."""

    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True)
class Crop(Operation):
    """The part of the image of the output's size that begins in row `top` and column `left`."""

    top: int
    left: int


@dataclass(frozen=True)
class Resize(Operation):
    """The image in the output's size, by linear interpolation or the nearest pixel."""

    linear: bool


@dataclass(frozen=True)
class ParametricRelu(Operation):
    """x above zero, x × slopes below; slopes of x's shape, or 1 in place of a length."""

    slopes: Weights


@dataclass(frozen=True)
class Combine(Operation):
    """Two values, number by number; an axis of length 1 is repeated."""

    combination: Combination


@dataclass(frozen=True)
class Concatenate(Operation):
    """Values side by side along an axis, counted without the batch."""

    axis: int


@dataclass(frozen=True)
class Network:
    """Operations in running order; value 0 is the input, the last operation's output the answer."""

    shapes: Sequence[Shape]
    """Of each value, without the batch."""
    operations: Sequence[Operation]
    output: int
    keras_version: str | None = None
    lacks_softmax: bool = False
    """Whether it was trained with a loss that takes probabilities, and answers none."""

    @property
    def input_shape(self) -> Shape:
        """Of one picture."""
        return self.shapes[0]

    @property
    def output_shape(self) -> Shape:
        """Of the answer to one picture."""
        return self.shapes[self.output]
