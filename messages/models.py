"""What the updater says: which models the car has, and how the change under way is going."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from messages.message import Message, Millis, Part
from messages.offers import StandingOffer
from messages.topics import Mirror, Topic, TopicKind
from messages.vision import ModelInfo

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

Origin = Literal["factory", "inbox", "import", "install", "offer", "store"]
"""Where a model came from: with smartcar, out of the data folder, handed over at the car, as a signed bundle,
from an offer on the broker. `store` is a change to a model that is in the store already."""

Step = Literal[
    "fetching",
    "received",
    "checked",
    "tested",
    "waiting",
    "trial",
    "active",
    "kept",
    "refused",
    "fallen_back",
    "interrupted",
]
"""A change goes from the left to `active`, or to `kept` where it isn't to be activated. `fetching` is told of
what comes in chunks or from a URL; `waiting` is for the recognizer. The last three end it without a new
model: not taken, given up on trial, cut off by a stop."""

ENDED: frozenset[Step] = frozenset({"active", "kept", "refused", "fallen_back", "interrupted"})
"""The steps after which a change is over."""

PERCENT: dict[Step, int] = {
    "fetching": 0,
    "received": 10,
    "checked": 30,
    "tested": 60,
    "waiting": 60,
    "trial": 70,
}
"""How far a change is at each step; one that ended is at 100."""


class ModelState(Message):
    """Which model is which. What is in the store besides, `model.list` tells."""

    active: ModelInfo
    previous: ModelInfo | None = None
    """What a rollback goes back to."""
    trial: ModelInfo | None = None
    """Reads already, but is not yet the active one."""
    pinned: bool = False
    """Nothing but the owner's hand changes the active model."""
    change: str = ""
    """The id of the change under way; empty where there is none."""
    step: Step | None = None
    """Where that change is."""
    models: int = 0
    """How many there are in the store."""
    follows: tuple[str, ...] = ()
    """The names whose offers this car takes by itself."""
    offers: tuple[StandingOffer, ...] = ()
    """What stands on the broker of these, as far as the car knows, and why it isn't taken."""
    releases: dict[str, int] = {}
    """By name: the newest release that the car has had. It takes no older one."""


class ModelProgress(Message):
    """A step of a change. `change` is the id of the command that asked for it, or the updater's own."""

    change: str
    step: Step
    percent: Annotated[int, Field(ge=0, le=100)]
    origin: Origin
    file: str = ""
    """Its name, where it came as a file."""
    model: ModelInfo | None = None
    """None while nothing is known of it but its file."""
    accuracy: Share | None = None
    """On the car's golden digits."""
    latency_ms: Millis | None = None
    """Five digits on this car."""
    replaced: ModelInfo | None = None
    """The model that was active before."""
    replaced_accuracy: Share | None = None
    """Of that one, on the same digits."""
    attempt: int = 1
    reason: str = ""
    """A code of docs/models.md where it was not taken."""
    sentence: str = ""
    """For people: what happened, what to do."""


class StoredModel(Part):
    """A model in the store."""

    model: ModelInfo
    release: int
    state: Literal["active", "previous", "factory", "kept", "damaged", "unreadable"]
    origin: Origin
    file: str = ""
    signed: bool
    size: int
    added: datetime
    issued: datetime | None = None
    """None where the model's manifest can't be read."""
    accuracy: Share | None = None
    """On the car's golden digits; None where it was not measured on this car."""
    latency_ms: Millis | None = None
    """Five digits on this car."""
    problem: str = ""
    """Why it can't be used, where it is damaged or can't be read."""
    peculiarities: tuple[str, ...] = ()
    """How it wants its digits, as far as that is not the usual way: dark ink, another range of values."""


MODEL_STATE = Topic(
    "model.state",
    ModelState,
    TopicKind.STATE,
    "which model is active, which was before, which is on trial",
    mirror=Mirror(
        "state/model",
        qos=1,
        retain=True,
        max_hertz=4.0,
        on_change_of=(
            "active",
            "previous",
            "trial",
            "pinned",
            "change",
            "step",
            "models",
            "follows",
            "offers",
        ),
    ),
)

MODEL_PROGRESS = Topic(
    "model.progress",
    ModelProgress,
    TopicKind.EVENT,
    "a step of a model on its way into the car, or why it was not taken",
    journalled=True,
    mirror=Mirror("event/model", qos=1, retain=False),
)
