"""The eye's network on LiteRT: one file for pictures of every size."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from messages.errors import ErrorCode
from models.inference.runtime import ModelError

MULTIPLE = 32
"""Height and width of a picture are multiples of this, in pixels."""
CELL = 4
"""Side of the square of pixels that one cell of the maps stands for."""
_KEPT = 5
"""Sizes of pictures whose interpreters stay allocated."""
_CHANNELS = {"ink": 4, "centre": 1, "offset": 3}


class EyeError(ModelError):
    """A file that is no network of an eye, or whose answer can't be used; the text says why."""


class Maps(NamedTuple):
    """What the network says of a picture (h, w), each map float32 at a quarter of its size."""

    ink: NDArray[np.float32]
    """(h/4, w/4, 4): how likely the 2×2 parts of a cell, in row order, are ink of a digit, 0 to 1."""
    centre: NDArray[np.float32]
    """(h/4, w/4): how likely a digit has its centre here, 0 to 1."""
    offset: NDArray[np.float32]
    """(h/4, w/4, 3): x and y from here to the centre of the digit whose ink this is, in units of 32 pixels,
    and the base-2 logarithm of that digit's longer side in the same unit."""


class EyeNetwork:
    """A network in memory, run on one thread. Not for use by two threads at once.

    An interpreter is kept for each of the sizes used last: sizing one costs as much as running it.
    """

    def __init__(self, content: bytes) -> None:
        """Raises EyeError where `content` is no network of an eye; it is run once to find out."""
        self._content = content
        self._interpreters: OrderedDict[tuple[int, int], _Sized] = OrderedDict()
        self.run(np.zeros((MULTIPLE, MULTIPLE), np.uint8))

    def run(self, grey: NDArray[np.uint8]) -> Maps:
        """The maps of a grey picture (h, w), sides multiples of 32.

        Raises EyeError where the network fails or answers with numbers that are not finite.
        """
        shape = (grey.shape[0], grey.shape[1])
        sized = self._interpreters.pop(shape, None)
        try:
            sized = sized or _Sized(self._content, shape)
            maps = sized.run(grey)
        except (ValueError, RuntimeError) as error:
            raise EyeError(f"The eye can't be run: {' '.join(str(error).split())}.") from None
        self._interpreters[shape] = sized
        if len(self._interpreters) > _KEPT:
            self._interpreters.popitem(last=False)
        if not all(np.isfinite(each).all() for each in maps):
            raise EyeError("The eye answers with numbers that are not finite.", ErrorCode.NOT_FINITE)
        return maps


class _Sized:
    """An interpreter for pictures of one size."""

    def __init__(self, content: bytes, shape: tuple[int, int]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["dtype"] != np.float32:
            raise EyeError(
                "The eye takes no grey picture: (1, h, w, 1) float32 is due.", ErrorCode.WRONG_INPUT
            )
        self._input = inputs[0]["index"]
        self._fed = np.empty((1, *shape, 1), np.float32)
        self._interpreter.resize_tensor_input(self._input, self._fed.shape)
        self._interpreter.allocate_tensors()
        self._outputs: dict[str, int] = {}

    def run(self, grey: NDArray[np.uint8]) -> Maps:
        np.multiply(grey, np.float32(1 / 127.5), out=self._fed[0, :, :, 0])
        self._fed -= np.float32(1)
        self._interpreter.set_tensor(self._input, self._fed)
        self._interpreter.invoke()
        if not self._outputs:  # their shapes are known from the first run on
            self._outputs = self._indices((grey.shape[0], grey.shape[1]))
        ink, centre, offset = (self._interpreter.get_tensor(self._outputs[name])[0] for name in _CHANNELS)
        return Maps(ink, centre[..., 0], offset)

    def _indices(self, shape: tuple[int, int]) -> dict[str, int]:
        """The index of each output; they are told apart by their channels."""
        height, width = shape[0] // CELL, shape[1] // CELL
        found = {
            tuple(int(side) for side in detail["shape"]): detail["index"]
            for detail in self._interpreter.get_output_details()
            if detail["dtype"] == np.float32
        }
        due = {name: (1, height, width, channels) for name, channels in _CHANNELS.items()}
        if set(found) != set(due.values()):
            raise EyeError(
                f"The eye answers with {sorted(found)} where {sorted(due.values())} are due.",
                ErrorCode.WRONG_OUTPUT,
            )
        return {name: found[form] for name, form in due.items()}
