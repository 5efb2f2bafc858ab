"""What a run needs to go on after it was interrupted: one whole model with its optimiser, and how far it is.

The checkpoint of an epoch is complete before `checkpoint.json`, which names it, is replaced: whenever the run
is killed, one whole checkpoint is there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INDEX = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was after an epoch."""

    model: Any
    """The Keras model, compiled, its optimiser as it was."""
    epoch: int
    """Epochs done."""
    history: list[dict[str, float]]
    more: dict[str, Any]
    """What else was given to `save`."""


def save(run: Path, model: Any, epoch: int, history: list[dict[str, float]], **more: Any) -> None:
    """Keep `model` as it is after `epoch` epochs; the checkpoint before goes. `more` is kept as JSON."""
    name = f"checkpoint-{epoch}.keras"
    partial = run / f".partial-{name}"
    model.save(partial)
    os.replace(partial, run / name)
    index = run / f".partial-{_INDEX}"
    index.write_text(json.dumps({"file": name, "epoch": epoch, "history": history, "more": more}) + "\n")
    os.replace(index, run / _INDEX)
    for old in run.glob("checkpoint-*.keras"):
        if old.name != name:
            old.unlink()


def load(run: Path) -> Checkpoint | None:
    """The run's last checkpoint, or None where no epoch was finished."""
    if not exists(run):
        return None
    import keras

    index = json.loads((run / _INDEX).read_text())
    model = keras.saving.load_model(run / index["file"])
    return Checkpoint(model, index["epoch"], index["history"], index["more"])


def exists(run: Path) -> bool:
    """Whether the run can be gone on with from where it was."""
    return (run / _INDEX).is_file()


def clear(run: Path) -> None:
    """Remove the checkpoint: the run is whole."""
    (run / _INDEX).unlink(missing_ok=True)
    for path in [*run.glob("checkpoint-*.keras"), *run.glob(".partial-*")]:
        path.unlink()
