"""How the layers of a Keras file hang together: Sequential, or a plain functional graph, of Keras 2 or 3.

Nothing in the file is called, imported or looked up by the name it gives: a class name is a key into the
allow-list, and whatever names code refuses the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from models.importing.keras.layer import MAX_LENGTH, Layer, plain, size, too_complex
from models.importing.keras.layers import KNOWN, LAYERS, MAX_VALUES, Graph, add
from models.importing.network import Network, Shape
from models.refusal import Reason, Refusal

MAX_LAYERS = 256
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

LayerOf = Callable[[str, str, dict[str, Any]], Layer]
"""Makes a layer of its class, its name and its configuration; brings its weights along."""


def bad(what: str) -> Refusal:
    return Refusal(
        Reason.BAD_CONFIG, f"The network in the file makes no sense: {what}. Save it anew with model.save(…)."
    )


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
            Reason.CUSTOM_CODE,
            f"The file names code: {called}. No model file may run code here: build the network from Keras's "
            "own layers, save it without its optimizer, or convert it on a PC with smartcar model bundle.",
        )


def network(model: Any, layer_of: LayerOf, keras_version: str | None) -> Network:
    """The network that a model's configuration, read as JSON, and its layers make."""
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict | list):
        raise bad("there is none")
    kind, config = model.get("class_name"), model["config"]
    if kind == "Sequential":
        graph, output = _sequential(config, layer_of)
    elif kind in ("Functional", "Model") and isinstance(config, dict):
        graph, output = _functional(config, layer_of)
    else:
        raise Refusal(
            Reason.UNSUPPORTED_LAYER,
            f"The model is a {str(kind)[:60]}; the car reads Sequential and Functional models. "
            "Convert it on a PC with smartcar model bundle.",
        )
    return Network(tuple(graph.shapes), tuple(graph.operations), output, keras_version)


class Entry(NamedTuple):
    """A layer as the configuration lists it."""

    kind: str
    name: str
    config: dict[str, Any]
    inbound: Any


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
                Reason.UNSUPPORTED_LAYER,
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
            Reason.WRONG_INPUT,
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


def _input_layer(entry: Entry, layer_of: LayerOf) -> Shape:
    """The shape that an InputLayer declares."""
    layer = layer_of(entry.kind, entry.name, entry.config)
    for key in ("batch_shape", "batch_input_shape", "optional"):
        layer.take(key)
    layer.finish()
    return _input_shape(_shape_of(entry.config))


def _run(layer: Layer, graph: Graph, x: int) -> int:
    for key in ("batch_input_shape", "batch_shape"):
        layer.take(key)  # Keras 2 repeats the input's shape in the first layer
    y = LAYERS[layer.kind](layer, graph, x)
    layer.finish()
    return y


def _sequential(config: Any, layer_of: LayerOf) -> tuple[Graph, int]:
    first, *rest = found = layers(config)
    if first.kind == "InputLayer":
        graph, found = Graph(_input_layer(first, layer_of)), rest
    else:
        declared = _shape_of(first.config)
        if declared is None and isinstance(config, dict):
            declared = config.get("build_input_shape")
        graph = Graph(_input_shape(declared))
    x = 0
    for entry in found:
        if entry.kind not in LAYERS:
            raise bad(f"layer {entry.name!r} stands in a row of layers")
        x = _run(layer_of(entry.kind, entry.name, entry.config), graph, x)
    return graph, x


def _functional(config: dict[str, Any], layer_of: LayerOf) -> tuple[Graph, int]:
    waiting = layers(config)
    entrance, exit_ = _only(config.get("input_layers"), "input"), _only(config.get("output_layers"), "output")
    sources = {entry.name: _inbound(entry.inbound, entry.name) for entry in waiting}
    first = next((entry for entry in waiting if entry.name == entrance), None)
    if first is None or first.kind != "InputLayer" or exit_ not in sources:
        raise bad("its input or output is none of its layers")
    graph = Graph(_input_layer(first, layer_of))
    values = {entrance: 0}
    waiting.remove(first)
    while waiting:
        ready = [entry for entry in waiting if all(source in values for source in sources[entry.name])]
        if not ready:
            raise bad("its layers wait for one another")
        for entry in ready:
            layer = layer_of(entry.kind, entry.name, entry.config)
            inputs = [values[source] for source in sources[entry.name]]
            if entry.kind == "Add" and len(inputs) > 1:
                values[entry.name] = add(layer, graph, inputs)
                layer.finish()
            elif entry.kind in LAYERS and len(inputs) == 1:
                values[entry.name] = _run(layer, graph, inputs[0])
            else:
                raise bad(f"layer {entry.name!r} has {len(inputs)} inputs")
        waiting = [entry for entry in waiting if entry.name not in values]
    return graph, values[exit_]


def _only(ends: Any, what: str) -> str:
    """The one layer of `input_layers` or `output_layers`: [name, 0, 0], or a list of one such."""
    if isinstance(ends, list) and len(ends) == 1:
        ends = ends[0]
    if isinstance(ends, list) and ends and isinstance(ends[0], list):
        raise Refusal(
            Reason.UNSUPPORTED_LAYER, f"The network has {len(ends)} {what}s; the car needs one of each."
        )
    return _source(ends)


def _source(history: Any) -> str:
    if (
        not isinstance(history, list)
        or len(history) < 3
        or not isinstance(history[0], str)
        or history[1] != 0
        or history[2] != 0
    ):
        raise Refusal(
            Reason.UNSUPPORTED_LAYER,
            "A layer is used more than once or has more than one output; the car reads plain graphs. "
            "Convert on a PC with smartcar model bundle.",
        )
    return history[0]


def _inbound(nodes: Any, name: str) -> list[str]:
    """The layers that one layer takes its input from, of Keras 2's or Keras 3's notation."""
    if nodes in (None, []):
        return []
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise Refusal(
            Reason.UNSUPPORTED_LAYER,
            f"Layer {name!r} is used more than once; the car reads plain graphs. "
            "Convert on a PC with smartcar model bundle.",
        )
    node = nodes[0]
    if isinstance(node, list):
        if not all(isinstance(call, list) and len(call) in (3, 4) for call in node):
            raise bad(f"the inputs of layer {name!r}")
        for call in node:
            _no_arguments(call[3] if len(call) == 4 else {}, name)
        return [_source(call) for call in node]
    if not isinstance(node, dict) or not isinstance(node.get("args"), list) or len(node["args"]) != 1:
        raise bad(f"the inputs of layer {name!r}")
    _no_arguments(node.get("kwargs", {}), name)
    given = plain(node["args"][0])
    found = []
    for tensor in given if isinstance(given, list) else [given]:
        if not isinstance(tensor, dict) or tensor.get("class_name") != "__keras_tensor__":
            raise bad(f"the inputs of layer {name!r}")
        inner = tensor.get("config")
        found.append(_source(inner.get("keras_history") if isinstance(inner, dict) else None))
    return found


def _no_arguments(arguments: Any, name: str) -> None:
    if not isinstance(arguments, dict) or any(value not in (None, False) for value in arguments.values()):
        raise Refusal(
            Reason.UNSUPPORTED_SETTING,
            f"Layer {name!r} is called with arguments, which the car doesn't know.",
        )
