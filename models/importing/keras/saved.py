"""The two kinds of file that Keras saves a whole model in: HDF5, and since Keras 2.12 also a zip."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from messages.errors import ErrorCode
from models.bundle import zipped
from models.bundle.manifest import MAX_SOURCE_BYTES
from models.importing.keras.hdf5 import SIGNATURE, File
from models.importing.keras.layer import WeightPlaces, bad
from models.importing.keras.layers import NESTED
from models.importing.keras.topology import MAX_DEPTH, Entry, layers, network, refuse_code
from models.importing.network import Activate, Network
from models.refusal import Refusal

_MAX_JSON = 4 << 20
_PROBABILITY_LOSSES = {
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
}
"""Losses that take probabilities unless they are told `from_logits`."""
_KERAS_2_12 = "_layer_checkpoint_dependencies"
"""What Keras 2.12 calls the folder of layers."""
_PARTS = {"config.json": _MAX_JSON, "metadata.json": _MAX_JSON, "model.weights.h5": MAX_SOURCE_BYTES}


def read(content: bytes) -> Network:
    """The network in a Keras file's `content`. Raises Refusal."""
    if len(content) > MAX_SOURCE_BYTES:
        raise Refusal(
            ErrorCode.TOO_LARGE, f"The file has {len(content)} bytes; {MAX_SOURCE_BYTES} are allowed."
        )
    if content.startswith(SIGNATURE):
        return _read_h5(content)
    if content.startswith(zipped.SIGNATURE):
        return _read_zip(content)
    raise Refusal(
        ErrorCode.UNKNOWN_FORMAT,
        "The file is neither .h5 nor .keras, whatever its name; save it with model.save(…).",
    )


def _json(text: str | bytes, what: str) -> Any:
    if len(text) > _MAX_JSON:
        raise Refusal(ErrorCode.TOO_COMPLEX, f"{what} of the file has more than {_MAX_JSON} characters.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise bad(f"{what} is no JSON") from None


def _checked(found: Network, training: Any) -> Network:
    """The network, with what its training tells."""
    loss = training.get("loss") if isinstance(training, dict) else None
    if isinstance(loss, dict):  # a loss object
        settings = loss.get("config")
        from_logits = isinstance(settings, dict) and settings.get("from_logits")
        loss = None if from_logits else loss.get("registered_name") or loss.get("class_name")
    last = found.operations[-1] if found.operations else None
    answers_probabilities = isinstance(last, Activate) and last.function in ("softmax", "sigmoid")
    return replace(found, lacks_softmax=str(loss) in _PROBABILITY_LOSSES and not answers_probabilities)


# --- HDF5


def _read_h5(content: bytes) -> Network:
    file = File(content)
    about = file.group().attributes
    text = about.get("model_config")
    if not isinstance(text, str):
        raise Refusal(
            ErrorCode.BAD_CONFIG,
            "The file holds weights without their network (model.save_weights); "
            "save the whole model with model.save(…).",
        )
    config = _json(text, "the configuration")
    refuse_code(config)
    text = about.get("training_config")
    training = _json(text, "the training configuration") if isinstance(text, str) else None
    refuse_code(training, training=True)
    version = about.get("keras_version")

    found = network(config, _H5Weights(file), version if isinstance(version, str) else None)
    return _checked(found, training)


class _H5Weights:
    """A group for each layer; a model in the model has those of all its layers in its group."""

    def __init__(self, file: File, inside: Sequence[tuple[str, ...]] | None = None) -> None:
        self._file, self._inside = file, inside

    def of(self, entry: Entry) -> WeightPlaces:
        """Of a layer in a model in the model: those under its name, or without a name (Normalization)."""
        if self._inside is None:
            return [(self._file, path) for path in self._group(entry.name)]
        named = [path for path in self._inside if path[-2] == entry.name]
        bare = [path for path in self._inside if len(path) == 3 and entry.kind == "Normalization"]
        return [(self._file, path) for path in named or bare]

    def within(self, entry: Entry) -> Self:
        return type(self)(self._file, self._group(entry.name) if self._inside is None else self._inside)

    def _group(self, layer: str) -> list[tuple[str, ...]]:
        return _h5_weights(self._file, layer) if self._file.has("model_weights", layer) else []


def _h5_weights(file: File, layer: str) -> list[tuple[str, ...]]:
    """Where the layer's weights are, in its own order: `weight_names`, in parts where it is long."""
    names: list[str] = []
    attributes = file.group("model_weights", layer).attributes
    parts = (
        ["weight_names"]
        if "weight_names" in attributes
        else sorted(
            (key for key in attributes if re.fullmatch(r"weight_names\d{1,4}", key)),
            key=lambda key: int(key[12:]),
        )
    )
    for part in parts:
        value = attributes[part]
        if isinstance(value, tuple):
            names.extend(value)
        elif isinstance(value, str) or value.size:
            raise bad(f"the names of layer {layer!r}'s weights")
    return [("model_weights", layer, *(step for step in name.split("/") if step)) for name in names]


# --- zip


def _read_zip(content: bytes) -> Network:
    parts = zipped.read(content, _PARTS)
    if missing := sorted(set(_PARTS) - set(parts)):
        raise Refusal(
            ErrorCode.UNKNOWN_FORMAT,
            f"The zip is no .keras file: it lacks {missing[0]}. Save it with model.save(…).",
        )
    config = _json(parts["config.json"], "config.json")
    if not isinstance(config, dict):
        raise bad("config.json is no object")
    refuse_code({key: value for key, value in config.items() if key != "compile_config"})
    refuse_code(config.get("compile_config"), training=True)
    about = _json(parts["metadata.json"], "metadata.json")
    version = about.get("keras_version") if isinstance(about, dict) else None
    file = File(parts["model.weights.h5"])
    above = "layers" if file.has("layers") else _KERAS_2_12
    weights = _ZipWeights(file, (above,), layers(config.get("config")))
    found = network(config, weights, version if isinstance(version, str) else None)
    return _checked(found, config.get("compile_config"))


class _ZipWeights:
    """A folder for each layer, named after its class and counted in the order of the layers: `dense_1`.

    A model in the model has a folder with such folders. Keras 2.12 counts some layers twice; so of the
    folders of a class those that hold weights are taken in their order, where they are as many as the layers.
    """

    def __init__(self, file: File, above: tuple[str, ...], found: Sequence[Entry]) -> None:
        self._file = file
        self._folders: dict[str, tuple[str, ...]] = {}
        names = list(file.group(*above).links) if file.has(*above) else []
        for kind in {entry.kind for entry in found}:
            stem = re.compile(rf"{_snake_case(kind)}(?:_(\d{{1,6}}))?")
            counted = {
                int(match[1] or 0): (*above, name) for name in names if (match := stem.fullmatch(name))
            }
            holding = {number: folder for number, folder in sorted(counted.items()) if self._holds(folder)}
            owners = [entry.name for entry in found if entry.kind == kind]
            if len(holding) == len(owners):
                self._folders.update(zip(owners, holding.values(), strict=True))
            elif kind in NESTED and all(number < len(owners) for number in holding):
                self._folders.update({owners[number]: folder for number, folder in holding.items()})
            elif holding:
                raise Refusal(
                    ErrorCode.BAD_WEIGHTS,
                    f"The file has weights for {len(holding)} {kind} layers, and {len(owners)} layers.",
                )

    def of(self, entry: Entry) -> WeightPlaces:
        folder = self._folders.get(entry.name)
        return [(self._file, path) for path in _variables(self._file, *folder)] if folder else []

    def within(self, entry: Entry) -> Self:
        folder = self._folders.get(entry.name, ("none",))
        return type(self)(self._file, (*folder, "layers"), layers(entry.config))

    def _holds(self, folder: tuple[str, ...], depth: int = MAX_DEPTH) -> bool:
        """Whether there are weights in the folder, or in those of a model in the model."""
        if _variables(self._file, *folder):
            return True
        inner = (*folder, "layers")
        return (
            depth > 0
            and self._file.has(*inner)
            and any(self._holds((*inner, name), depth - 1) for name in self._file.group(*inner).links)
        )


def _variables(file: File, *folder: str) -> list[tuple[str, ...]]:
    """The variables of one layer: `vars/0`, `vars/1` and so on."""
    if not file.has(*folder, "vars"):
        return []
    names = file.group(*folder, "vars").links
    if not all(name.isdecimal() and len(name) < 4 for name in names):
        raise Refusal(ErrorCode.BAD_WEIGHTS, f"The weights in {'/'.join(folder)} are not numbered.")
    return [(*folder, "vars", name) for name in sorted(names, key=int)]


def _snake_case(name: str) -> str:
    """A class's name as Keras writes it in paths."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
