"""The experiments `smartcar train` knows: those of the course, chapter 10, and ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

OURS = "smartcar"
"""The preset that is no course experiment: the network the car ships, trained by `tools.train.fit`."""


@dataclass(frozen=True)
class Preset:
    """One experiment of the course: a dense network on plainly shrunk pixels, and how it is trained."""

    name: str
    shows: str
    course_says: float | None = None
    """Share of MNIST's t10k that the course prints for it; None where it prints none."""
    hidden: tuple[int, ...] = (256, 128)
    """Units of the hidden layers."""
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    dropout: float = 0.0
    """Before the last layer."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    batch: int = 32
    epochs: int = 3
    watched: bool = False
    """Whether t10k is scored after every epoch, for the curves; nothing is chosen by it."""


_DROPOUT = Preset("", "", dropout=0.5)
_FAST = replace(_DROPOUT, learning_rate=0.1)

_COURSE = (
    Preset("ex10_2", "the network and its picture; nothing is trained", epochs=0),
    Preset("ex10_3", "training: the curve of three epochs"),
    Preset("ex10_4", "scoring on digits it was not trained on", 0.8130),
    Preset("ex10_5", "ten predictions"),
    replace(_DROPOUT, name="ex10_6", shows="dropout, ten epochs", course_says=0.8807, epochs=10),
    replace(_DROPOUT, name="ex10_7a", shows="shape: one more layer of 128"),
    replace(_DROPOUT, name="ex10_7b", shows="shape: three more layers of 128", hidden=(256, 128, 128, 128)),
    replace(_DROPOUT, name="ex10_7c", shows="shape: one more layer of 1568", hidden=(256, 1568)),
    replace(_DROPOUT, name="ex10_8", shows="curves of training and test", epochs=5, watched=True),
    replace(_DROPOUT, name="ex10_9a", shows="learning rate 0.01", course_says=0.7499),
    replace(_DROPOUT, name="ex10_9b", shows="learning rate 0.1", learning_rate=0.1),
    replace(_DROPOUT, name="ex10_9c", shows="learning rate 1.0", learning_rate=1.0),
    replace(_FAST, name="ex10_10a", shows="batches of 16", batch=16),
    replace(_FAST, name="ex10_10b", shows="batches of 32"),
    replace(_FAST, name="ex10_10c", shows="batches of 64", batch=64),
    replace(_FAST, name="ex10_11a", shows="5 epochs", epochs=5, watched=True),
    replace(_FAST, name="ex10_11b", shows="10 epochs", course_says=0.957, epochs=10, watched=True),
    replace(_FAST, name="ex10_11c", shows="60 epochs", epochs=60, watched=True),
    Preset(
        "ex10_12",
        "the postal-code recognizer's model, model_trained.h5",
        0.9842,
        hidden=(1024, 512, 512),
        activation="relu",
        optimizer="adam",
        learning_rate=0.001,
        batch=128,
        epochs=50,
        watched=True,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _COURSE}
"""The course's experiments by name; those with variants A, B, C end in a, b, c."""


def family(name: str) -> list[str]:
    """An experiment's presets: of `ex10_9` its a, b and c, of a preset's name itself. Raises KeyError."""
    if name in PRESETS:
        return [name]
    found = [f"{name}{variant}" for variant in "abc" if f"{name}{variant}" in PRESETS]
    if not found:
        raise KeyError(name)
    return found
