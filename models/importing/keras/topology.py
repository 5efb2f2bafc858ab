"""How the layers of a Keras file hang together: Sequential, or a plain functional graph, of Keras 2 or 3.

Nothing in the file is called, imported or looked up by the name it gives: a class name is a key into the
allow-list, and whatever names code refuses the file.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol, Self

from messages.errors import ErrorCode
from models.importing.keras.connections import inbound, only_end
from models.importing.keras.graph import MAX_VALUES, Graph, Value
from models.importing.keras.layer import MAX_LENGTH, Layer, WeightPlaces, bad, plain, size, too_complex
from models.importing.keras.layers import KNOWN, LAYERS, NESTED
from models.importing.keras.merging_layers import MERGING_LAYERS
from models.importing.network import Network, Shape
from models.refusal import Refusal

MAX_LAYERS = 256
"""Of a model, those of models in it not counted."""
MAX_DEPTH = 8
"""Models within one another."""
_KERAS = re.compile(r"(keras|tf_keras|tensorflow\.(python\.)?keras)(\.[A-Za-z0-9_.]+)?")
_CODE = {
    "Lambda",
    "TFOpLambda",
    "SlicingOpLambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
}
_WRAPPED = {"__lambda__", "__typespec__", "__tensor__", "__bytes__", "__ellipsis__", "__method__"}


def refuse_code(config: Any, training: bool = False) -> None:
    """Raises Refusal where the configuration, at whatever depth, names code that is not Keras's own.

    `training`: the part that says how the model was trained, which the car never looks at. There Keras itself
    writes names like `Custom>Adam`, and people's own functions are common.
    """
    pending = [config]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending.extend(part)
        elif isinstance(part, dict):
            pending.extend(part.values())
            if "class_name" in part or "registered_name" in part:
                _refuse_object(part, training)


def _refuse_object(part: dict[str, Any], training: bool) -> None:
    name, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
    strange = not isinstance(name, str) or not re.fullmatch(r"[\w>]+" if training else r"\w+", name)
    if module is not None and not (training and module == "builtins"):
        strange |= not isinstance(module, str) or not _KERAS.fullmatch(module)
    if not training:
        strange |= str(name) in _CODE | _WRAPPED or registered not in (None, name)
    if strange:
        called = ".".join(str(each)[:60] for each in (module, registered or name) if each is not None)
        raise Refusal(
            ErrorCode.CUSTOM_CODE,
            f"The file names code: {called}. No model file may run code here: build the network from Keras's "
            "own layers, save it without its optimizer, or convert it on a PC with smartcar model bundle.",
        )


class Entry(NamedTuple):
    """A layer as the configuration lists it."""

    kind: str
    name: str
    config: dict[str, Any]
    inbound: Any


class Weights(Protocol):
    """Where the layers of a model have their weights in the file."""

    def of(self, entry: Entry) -> WeightPlaces:
        """Of one layer, in its own order."""

    def within(self, entry: Entry) -> Self:
        """Of the layers of a model that is itself a layer."""


def network(model: Any, weights: Weights, keras_version: str | None) -> Network:
    """The network that a model's configuration, read as JSON, and its weights make."""
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict | list):
        raise bad("there is none")
    kind, config = str(model.get("class_name"))[:60], model["config"]
    if kind not in NESTED:
        raise Refusal(
            ErrorCode.UNSUPPORTED_LAYER,
            f"The model is a {kind}; the car reads Sequential and Functional models. "
            "Convert it on a PC with smartcar model bundle.",
        )
    graph, output = _model(kind, config, weights)
    return Network(tuple(graph.shapes), tuple(graph.operations), output, keras_version)


def _model(
    kind: str, config: Any, weights: Weights, within: tuple[Graph, Value] | None = None, depth: int = 1
) -> tuple[Graph, Value]:
    """The graph with what a model does, and the value of its output; `within` a graph, to a value of it."""
    if depth > MAX_DEPTH:
        raise too_complex("models within one another", MAX_DEPTH)
    if kind == "Sequential":
        return _sequential(config, weights, within, depth)
    if not isinstance(config, dict):
        raise bad("there is none")
    return _functional(config, weights, within, depth)


def layers(config: Any) -> list[Entry]:
    """The layers that a model's configuration lists, every one of a known class. Raises Refusal."""
    entries = config.get("layers") if isinstance(config, dict) else config  # a list before Keras 2.3
    if not isinstance(entries, list) or not entries:
        raise bad("it has no layers")
    if len(entries) > MAX_LAYERS:
        raise too_complex("layers", MAX_LAYERS)
    found: list[Entry] = []
    names: set[str] = set()
    for entry in entries:
        inner = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(inner, dict):
            raise bad("a layer has no configuration")
        kind, name = str(entry.get("class_name"))[:60], entry.get("name", inner.get("name"))
        if kind not in KNOWN:
            raise Refusal(
                ErrorCode.UNSUPPORTED_LAYER,
                f"Layer {str(name)[:60]!r} is a {kind}, which the car doesn't know; it knows "
                f"{', '.join(KNOWN)}. Leave it out, or convert on a PC with smartcar model bundle.",
            )
        if not isinstance(name, str) or not 0 < len(name) <= 200 or name in names:
            raise bad("a layer's name is missing or there twice")
        names.add(name)
        found.append(Entry(kind, name, inner, entry.get("inbound_nodes")))
    return found


def _input_shape(value: Any) -> Shape:
    shape = plain(value)
    if (
        not isinstance(shape, list)
        or not 2 <= len(shape) <= 5
        or any(type(length) is not int or not 1 <= length <= MAX_LENGTH for length in shape[1:])
    ):
        raise Refusal(
            ErrorCode.WRONG_INPUT,
            f"The network takes {str(shape)[:60]}; the car gives one picture of 28×28 floats: (28, 28), "
            "(28, 28, 1) or (784,), with an Input layer that says so.",
        )
    if size(tuple(shape[1:])) > MAX_VALUES:
        raise too_complex("numbers in its input", MAX_VALUES)
    return tuple(shape[1:])


def _shape_of(config: dict[str, Any]) -> Any:
    for key in ("batch_shape", "batch_input_shape"):  # Keras 3, Keras 2
        if config.get(key) is not None:
            return config[key]
    return None


def _entered(entry: Entry, within: tuple[Graph, Value] | None) -> tuple[Graph, Value]:
    """The graph and the value at an InputLayer: of a model in a model it is what comes in."""
    layer = Layer(entry.kind, entry.name, entry.config, ())
    for key in ("batch_shape", "batch_input_shape", "optional"):
        layer.take(key)
    layer.finish()
    return within or (Graph(_input_shape(_shape_of(entry.config))), 0)


def _run(entry: Entry, weights: Weights, graph: Graph, x: Value, depth: int) -> Value:
    if entry.kind in NESTED:
        return _model(entry.kind, entry.config, weights.within(entry), (graph, x), depth + 1)[1]
    layer = Layer(entry.kind, entry.name, entry.config, weights.of(entry))
    for key in ("batch_input_shape", "batch_shape"):
        layer.take(key)  # Keras 2 repeats the input's shape in the first layer
    y = LAYERS[layer.kind](layer, graph, x)
    layer.finish()
    return y


def _sequential(
    config: Any, weights: Weights, within: tuple[Graph, Value] | None, depth: int
) -> tuple[Graph, Value]:
    first, *rest = found = layers(config)
    if first.kind == "InputLayer":
        (graph, x), found = _entered(first, within), rest
    elif within is not None:
        graph, x = within
    else:
        declared = _shape_of(first.config)
        if declared is None and isinstance(config, dict):
            declared = config.get("build_input_shape")
        graph, x = Graph(_input_shape(declared)), 0
    for entry in found:
        if entry.kind not in LAYERS and entry.kind not in NESTED:
            raise bad(f"layer {entry.name!r} stands in a row of layers")
        x = _run(entry, weights, graph, x, depth)
    return graph, x


def _functional(
    config: dict[str, Any], weights: Weights, within: tuple[Graph, Value] | None, depth: int
) -> tuple[Graph, Value]:
    waiting = layers(config)
    entrance, exit_ = (
        only_end(config.get("input_layers"), "input"),
        only_end(config.get("output_layers"), "output"),
    )
    sources = {entry.name: inbound(entry.inbound, entry.name) for entry in waiting}
    first = next((entry for entry in waiting if entry.name == entrance), None)
    if first is None or first.kind != "InputLayer" or exit_ not in sources:
        raise bad("its input or output is none of its layers")
    graph, x = _entered(first, within)
    values = {entrance: x}
    waiting.remove(first)
    while waiting:
        ready = [entry for entry in waiting if all(source in values for source in sources[entry.name])]
        if not ready:
            raise bad("its layers wait for one another")
        for entry in ready:
            inputs = [values[source] for source in sources[entry.name]]
            if entry.kind in MERGING_LAYERS and len(inputs) > 1:
                layer = Layer(entry.kind, entry.name, entry.config, weights.of(entry))
                values[entry.name] = MERGING_LAYERS[entry.kind](layer, graph, inputs)
                layer.finish()
            elif (entry.kind in LAYERS or entry.kind in NESTED) and len(inputs) == 1:
                values[entry.name] = _run(entry, weights, graph, inputs[0], depth)
            else:
                raise bad(f"layer {entry.name!r} has {len(inputs)} inputs")
        waiting = [entry for entry in waiting if entry.name not in values]
    return graph, values[exit_]
