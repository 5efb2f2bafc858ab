"""The two kinds of file that Keras saves a whole model in: HDF5, and since Keras 2.12 also a zip."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from models.bundle import zipped
from models.bundle.manifest import MAX_SOURCE_BYTES
from models.importing.keras.hdf5 import SIGNATURE, File
from models.importing.keras.layer import Layer
from models.importing.keras.topology import Entry, bad, layers, network, refuse_code
from models.importing.network import Activate, Network
from models.refusal import Reason, Refusal

_MAX_JSON = 4 << 20
_PROBABILITY_LOSSES = {
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
}
"""Losses that take probabilities unless they are told `from_logits`."""
_PARTS = {"config.json": _MAX_JSON, "metadata.json": _MAX_JSON, "model.weights.h5": MAX_SOURCE_BYTES}


def read(content: bytes) -> Network:
    """The network in a Keras file's `content`. Raises Refusal."""
    if len(content) > MAX_SOURCE_BYTES:
        raise Refusal(Reason.TOO_LARGE, f"The file has {len(content)} bytes; {MAX_SOURCE_BYTES} are allowed.")
    if content.startswith(SIGNATURE):
        return _read_h5(content)
    if content.startswith(zipped.SIGNATURE):
        return _read_zip(content)
    raise Refusal(
        Reason.UNKNOWN_FORMAT,
        "The file is neither .h5 nor .keras, whatever its name; save it with model.save(…).",
    )


def _json(text: str | bytes, what: str) -> Any:
    if len(text) > _MAX_JSON:
        raise Refusal(Reason.TOO_COMPLEX, f"{what} of the file has more than {_MAX_JSON} characters.")
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
            Reason.BAD_CONFIG,
            "The file holds weights without their network (model.save_weights); "
            "save the whole model with model.save(…).",
        )
    config = _json(text, "the configuration")
    refuse_code(config)
    text = about.get("training_config")
    training = _json(text, "the training configuration") if isinstance(text, str) else None
    refuse_code(training, training=True)
    version = about.get("keras_version")

    def layer_of(kind: str, name: str, inner: dict[str, Any]) -> Layer:
        paths = _h5_weights(file, name) if file.has("model_weights", name) else []
        return Layer(kind, name, inner, [(file, path) for path in paths])

    return _checked(network(config, layer_of, version if isinstance(version, str) else None), training)


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
            Reason.UNKNOWN_FORMAT,
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
    weights = _zip_weights(file, layers(config.get("config")))

    def layer_of(kind: str, name: str, inner: dict[str, Any]) -> Layer:
        return Layer(kind, name, inner, [(file, path) for path in weights.get(name, [])])

    found = network(config, layer_of, version if isinstance(version, str) else None)
    return _checked(found, config.get("compile_config"))


def _zip_weights(file: File, found: list[Entry]) -> dict[str, list[tuple[str, ...]]]:
    """Where each layer's weights are, by the layer's name.

    The folders are named after the class and counted, in the order of the layers: `dense`, `dense_1`. Keras
    2.12 has another name for the folder above, and counts some layers twice; so of the folders of a class
    those that hold weights are taken in their order.
    """
    above = "layers" if file.has("layers") else "_layer_checkpoint_dependencies"
    folders = list(file.group(above).links)
    weights: dict[str, list[tuple[str, ...]]] = {}
    for kind in {entry.kind for entry in found}:
        stem = re.compile(rf"{_snake_case(kind)}(?:_(\d{{1,6}}))?")
        counted = sorted((int(match[1] or 0), name) for name in folders if (match := stem.fullmatch(name)))
        holding = [held for _, name in counted if (held := _variables(file, above, name))]
        owners = [entry.name for entry in found if entry.kind == kind]
        if holding and len(holding) != len(owners):
            raise Refusal(
                Reason.BAD_WEIGHTS,
                f"The file has weights for {len(holding)} {kind} layers, and {len(owners)} layers.",
            )
        weights.update(zip(owners, holding, strict=False))
    return weights


def _variables(file: File, *folder: str) -> list[tuple[str, ...]]:
    """The variables of one layer: `vars/0`, `vars/1` and so on."""
    if not file.has(*folder, "vars"):
        return []
    names = file.group(*folder, "vars").links
    if not all(name.isdecimal() and len(name) < 4 for name in names):
        raise Refusal(Reason.BAD_WEIGHTS, f"The weights in {'/'.join(folder)} are not numbered.")
    return [(*folder, "vars", name) for name in sorted(names, key=int)]


def _snake_case(name: str) -> str:
    """A class's name as Keras writes it in paths."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
