"""Which layers a layer of a functional model takes its input from, in Keras 2's and Keras 3's notation."""

from __future__ import annotations

from typing import Any

from messages.errors import ErrorCode
from models.importing.keras.layer import bad, plain
from models.refusal import Refusal


def only_end(ends: Any, what: str) -> str:
    """The one layer of `input_layers` or `output_layers`: [name, 0, 0], or a list of one such."""
    if isinstance(ends, list) and len(ends) == 1:
        ends = ends[0]
    if isinstance(ends, list) and ends and isinstance(ends[0], list):
        raise Refusal(
            ErrorCode.UNSUPPORTED_LAYER, f"The network has {len(ends)} {what}s; the car needs one of each."
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
            ErrorCode.UNSUPPORTED_LAYER,
            "A layer is used more than once or has more than one output; the car reads plain graphs. "
            "Convert on a PC with smartcar model bundle.",
        )
    return history[0]


def inbound(nodes: Any, name: str) -> list[str]:
    """The layers that one layer takes its input from, of Keras 2's or Keras 3's notation."""
    if nodes in (None, []):
        return []
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise Refusal(
            ErrorCode.UNSUPPORTED_LAYER,
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
    arguments = node.get("kwargs", {})
    if isinstance(arguments, dict):  # `training` is said anew at every call, and here it is false
        arguments = {key: value for key, value in arguments.items() if key != "training"}
    _no_arguments(arguments, name)
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
            ErrorCode.UNSUPPORTED_SETTING,
            f"Layer {name!r} is called with arguments, which the car doesn't know.",
        )
