"""The running mean of a network's weights (Polyak, Juditsky, 1992): it reads better than any one step's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EVERY = 8
"""Steps between two looks at the weights."""
_KEPT = 0.99
"""What a look leaves of the mean: it reaches some hundred looks back."""


class Average:
    """Follows a network in training; a step's statistics of batch normalisation are averaged as well."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._steps = 0
        self.weights: list[NDArray[np.float32]] = [np.array(array) for array in model.get_weights()]

    def step(self) -> None:
        """Another step was taken."""
        self._steps += 1
        if self._steps % _EVERY:
            return
        looks = self._steps // _EVERY
        share = max(1 - _KEPT, 1 / (1 + looks / 4))  # the first looks count more: they know little yet
        for mean, now in zip(self.weights, self._model.get_weights(), strict=True):
            mean += np.float32(share) * (now - mean)

    def go_on(self, weights: Sequence[NDArray[np.float32]], steps: int) -> None:
        """As if it had followed so many steps, to these weights."""
        self._steps = steps
        for mean, held in zip(self.weights, weights, strict=True):
            mean[...] = held
