"""What a run needs to go on after it was interrupted: weights, the optimiser's state, and how far it is.

The checkpoint of an epoch is complete before `checkpoint.json`, which names it, is replaced: whenever the run
is killed, one whole checkpoint is there. It holds arrays only, so reading one runs no code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[np.float32]]

_INDEX = "checkpoint.json"
_ARRAYS = "checkpoint-{}.npz"


@dataclass(frozen=True)
class Checkpoint:
    """How far a run was."""

    epoch: int
    """Epochs done."""
    history: list[dict[str, float]]
    more: dict[str, Any]
    """What else was given to `save`."""
    beside: Arrays = ()
    """The arrays that were given to `save` beside the model's."""


def save(
    run: Path, model: Any, epoch: int, history: list[dict[str, float]], beside: Arrays = (), **more: Any
) -> None:
    """Keep the compiled `model` as it is after `epoch` epochs; the checkpoint before goes. `more` is JSON."""
    name = _ARRAYS.format(epoch)
    partial = run / f".partial-{name}"
    np.savez(partial, *(np.asarray(array) for array in _variables(model)), *beside)
    os.replace(partial, run / name)
    index = run / f".partial-{_INDEX}"
    index.write_text(json.dumps({"file": name, "epoch": epoch, "history": history, "more": more}) + "\n")
    os.replace(index, run / _INDEX)
    for old in run.glob(_ARRAYS.format("*")):
        if old.name != name:
            old.unlink()


def restore(run: Path, model: Any) -> Checkpoint | None:
    """Bring `model`, built and compiled as it was, to the run's last checkpoint; None where there is none.

    Raises ValueError where the checkpoint is of another network.
    """
    if not exists(run):
        return None
    index = json.loads((run / _INDEX).read_text())
    with np.load(run / index["file"], allow_pickle=False) as held:
        arrays = [held[name] for name in held.files]
    variables = _variables(model)
    own, beside = arrays[: len(variables)], arrays[len(variables) :]
    if [array.shape for array in own] != [tuple(variable.shape) for variable in variables]:
        raise ValueError(f"the checkpoint in {run} is of another network: begin a new run")
    for variable, array in zip(variables, own, strict=True):
        variable.assign(array)
    return Checkpoint(index["epoch"], index["history"], index["more"], beside)


def exists(run: Path) -> bool:
    """Whether the run can be gone on with from where it was."""
    return (run / _INDEX).is_file()


def clear(run: Path) -> None:
    """Remove the checkpoint: the run is whole."""
    (run / _INDEX).unlink(missing_ok=True)
    for path in [*run.glob(_ARRAYS.format("*")), *run.glob(".partial-*")]:
        path.unlink()


def seed_dropout(model: Any, seed: int, epoch: int) -> None:
    """Let which units drop out depend on seed and epoch only, so that a run that goes on drops the same."""
    for layer in model.layers:
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign([seed, epoch])


def _variables(model: Any) -> list[Any]:
    """Weights, then the optimiser's own; a layer's random state is not kept: see `seed_dropout`."""
    model.optimizer.build(model.trainable_variables)
    return [*model.weights, *model.optimizer.variables]
