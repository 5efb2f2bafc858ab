"""One layer of a Keras file: its configuration and its weights, every value checked as it is taken.

A setting that nobody took and that is not known to be harmless is refused: better no model than another one
than its author trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from messages.errors import ErrorCode
from models.importing.keras.hdf5 import File
from models.importing.network import Shape, Weights
from models.refusal import Refusal

MAX_LENGTH = 1 << 16
"""Of one axis of anything."""
MAX_PARAMETERS = 7 << 20
"""Weights of a network: as many as fit the model file of a bundle."""

_LARGEST = 1e30
"""Of a number among the settings, whatever its sign."""
_HARMLESS = {"name", "trainable", "build_config", "registered_name", "synchronized", "momentum", "autocast"}
_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint", "_momentum")
"""Endings of settings that matter to training alone."""


WeightPlaces = Sequence[tuple[File, tuple[str, ...]]]
"""Where weights lie: each in an HDF5 file, by its path there."""


class Layer:
    """A layer of the allow-list, not yet understood."""

    def __init__(self, kind: str, name: str, config: dict[str, Any], weights: WeightPlaces):
        self.kind = kind
        self.name = name
        self._config = config
        self._taken: set[str] = set()
        self._weights = list(weights)

    # --- settings

    def unsupported(self, what: str) -> Refusal:
        return Refusal(
            ErrorCode.UNSUPPORTED_SETTING,
            f"Layer {self.name!r} ({self.kind}): {what} is not known to the car; "
            "leave it out, or convert on a PC with smartcar model bundle.",
        )

    def _senseless(self, key: str, value: object) -> Refusal:
        return Refusal(
            ErrorCode.BAD_CONFIG,
            f"Layer {self.name!r} ({self.kind}) has {key} = {str(value)[:60]!r}, which makes no sense.",
        )

    def take(self, key: str, default: Any = None) -> Any:
        """The setting as it stands, tuples and NumPy scalars as lists and numbers."""
        self._taken.add(key)
        return plain(self._config.get(key, default))

    def take_all(self) -> None:
        """Every setting, because none has a meaning here."""
        self._taken.update(self._config)

    def inner(self, key: str) -> Layer | None:
        """The layer without weights that a setting is; None where it is something else."""
        value = self.take(key)
        if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
            return None
        return Layer(str(value.get("class_name"))[:60], self.name, value["config"], ())

    def whole(self, key: str, default: Any = None, low: int = 1) -> int:
        """A whole number from `low` to MAX_LENGTH."""
        return self._whole(key, self.take(key, default), low)

    def _whole(self, key: str, value: Any, low: int = 1) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MAX_LENGTH:
            raise self._senseless(key, value)
        return value

    def pair(self, key: str, default: Any = None, low: int = 1) -> tuple[int, int]:
        """Two whole numbers, or one for both."""
        value = self.take(key, default)
        values = value if isinstance(value, list) else [value, value]
        if len(values) != 2:
            raise self._senseless(key, value)
        return self._whole(key, values[0], low), self._whole(key, values[1], low)

    def pairs(self, key: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Two pairs of whole numbers from 0, however they are shortened."""
        value = self.take(key)
        values = value if isinstance(value, list) else [value, value]
        if len(values) != 2:
            raise self._senseless(key, value)
        first, second = (plain(each) if isinstance(plain(each), list) else [each, each] for each in values)
        if len(first) != 2 or len(second) != 2:
            raise self._senseless(key, value)
        a, b, c, d = (self._whole(key, each, 0) for each in (*first, *second))
        return (a, b), (c, d)

    def number(self, key: str, default: Any = None) -> float:
        """A finite number."""
        return self._number(key, self.take(key, default))

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
            raise self._senseless(key, value)
        return float(value)

    def numbers(self, key: str) -> Weights:
        """One finite number or several, (n,)."""
        value = self.take(key)
        values = value if isinstance(value, list) else [value]
        if not 1 <= len(values) <= MAX_LENGTH:
            raise self._senseless(key, value)
        return np.array([self._number(key, each) for each in values], np.float32)

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self._senseless(key, value)
        return value

    def same_padding(self) -> bool:
        """Whether `padding` is "same"; else it is "valid"."""
        value = self.take("padding", "valid")
        if value not in ("same", "valid"):
            raise self.unsupported(f"padding {value!r}")
        return bool(value == "same")

    def channels_last(self) -> None:
        """Refuses channels first."""
        if self.take("data_format") not in ("channels_last", None):
            raise self.unsupported("data_format channels_first")

    def finish(self) -> None:
        """Refuses what nobody took: settings with a meaning, weights."""
        dtype = self.take("dtype", "float32")
        if isinstance(dtype, dict):
            policy = dtype.get("config")
            dtype = policy.get("name") if isinstance(policy, dict) else None
        if dtype not in ("float32", None):
            raise self.unsupported(f"dtype {dtype!r}")
        for key, value in self._config.items():
            if key in self._taken or key in _HARMLESS or key.endswith(_TRAINING_ONLY):
                continue
            if value is not None and value is not False:
                raise self.unsupported(f"{key} = {str(value)[:60]}")
        if self._weights:
            raise Refusal(
                ErrorCode.BAD_WEIGHTS,
                f"Layer {self.name!r} ({self.kind}) has {len(self._weights)} weights too many.",
            )

    # --- weights

    def weight(self, *shape: int) -> Weights:
        """The next of the layer's weights, which must have this shape and be finite."""
        if not self._weights:
            raise Refusal(
                ErrorCode.BAD_WEIGHTS,
                f"Layer {self.name!r} ({self.kind}) lacks weights; save the whole model anew.",
            )
        file, path = self._weights.pop(0)
        if file.shape(*path) != shape:
            raise Refusal(
                ErrorCode.BAD_WEIGHTS,
                f"Layer {self.name!r} ({self.kind}) has weights {file.shape(*path)} where {shape} is due.",
            )
        if prod(shape) > MAX_PARAMETERS:
            raise too_complex("weights", MAX_PARAMETERS)
        found: NDArray[np.generic] = file.array(*path)
        if found.dtype.kind != "f":
            raise Refusal(
                ErrorCode.BAD_WEIGHTS, f"Layer {self.name!r} ({self.kind}) has weights that are no floats."
            )
        weights = found.astype(np.float32)
        if not np.isfinite(weights).all():
            raise Refusal(
                ErrorCode.NOT_FINITE,
                f"Layer {self.name!r} ({self.kind}) has NaN or infinite weights: the training diverged.",
            )
        return weights

    def drop_weight(self) -> None:
        """Passes over the next of the layer's weights, where there is one."""
        del self._weights[:1]


def bad(what: str) -> Refusal:
    """The refusal of a network that makes no sense."""
    return Refusal(
        ErrorCode.BAD_CONFIG,
        f"The network in the file makes no sense: {what}. Save it anew with model.save(…).",
    )


def too_complex(what: str, limit: int) -> Refusal:
    return Refusal(ErrorCode.TOO_COMPLEX, f"The network has more than {limit} {what}; build a smaller one.")


def plain(value: Any) -> Any:
    """A setting without Keras's wrapping of tuples and NumPy scalars."""
    if isinstance(value, dict) and value.get("class_name") == "__tuple__":
        return value.get("items")
    if isinstance(value, dict) and value.get("class_name") == "__numpy__":
        inner = value.get("config")
        return inner.get("value") if isinstance(inner, dict) else None
    return value


def size(shape: Shape) -> int:
    """How many numbers a shape holds."""
    return prod(shape)
