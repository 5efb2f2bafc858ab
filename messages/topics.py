"""The table of topics. Endpoints, liveness, MQTT mirror, `smartcar topics` and tests derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from messages.health import Heartbeat, JournalCursor
from messages.message import Message
from messages.models import ModelProgress, ModelState
from messages.offers import ModelWanted
from messages.pad import PadCanvas, PadChange, PadResult
from messages.vision import FrameReady, Reading, ReadingEvent, ReadingImage


class Kind(StrEnum):
    """How a topic is delivered."""

    STATE = "state"
    """The newest wins; a late joiner gets the last value."""
    EVENT = "event"
    """Never conflated, numbered; a gap is counted."""


EVERY_SERVICE = "*"
"""Owner of a topic that each service publishes for itself."""


@dataclass(frozen=True)
class Mirror:
    """How a topic appears on MQTT, below `smartcar/<car>/`. `{source}` stands for the service."""

    topic: str
    qos: int
    retain: bool
    max_hertz: float | None = None
    on_change_of: tuple[str, ...] = ()
    """Publish only when one of these fields differs from what was last published; empty: always."""
    payload_field: str = ""
    """Publish this field's bytes alone; empty: the whole message as JSON."""


@dataclass(frozen=True)
class Topic:
    """One row. `hertz` is the rate at which it is expected while its owner is well; None: on change."""

    name: str
    message: type[Message]
    kind: Kind
    owner: str
    about: str
    hertz: float | None = None
    journalled: bool = False
    mirror: Mirror | None = None


TOPICS: tuple[Topic, ...] = (
    Topic(
        "frame", FrameReady, Kind.STATE, "capture",
        "a frame stands in the ring",
        hertz=30.0,
    ),
    Topic(
        "reading", Reading, Kind.STATE, "recognizer",
        "all that was read in one frame",
        hertz=30.0,
        mirror=Mirror("state/reading", qos=1, retain=True, max_hertz=2.0, on_change_of=("codes",)),
    ),
    Topic(
        "reading.event", ReadingEvent, Kind.EVENT, "recognizer",
        "a code came into view, was corrected, left",
        journalled=True,
        mirror=Mirror("event/reading", qos=1, retain=False),
    ),
    Topic(
        "reading.image", ReadingImage, Kind.STATE, "recognizer",
        "the picture in which the last event was decided",
        mirror=Mirror("image/reading", qos=0, retain=True, payload_field="jpeg"),
    ),
    Topic(
        "pad.stroke", PadChange, Kind.EVENT, "pad",
        "what was just drawn, erased or undone on the pad",
    ),
    Topic(
        "pad.canvas", PadCanvas, Kind.STATE, "pad",
        "the whole canvas of the pad",
        mirror=Mirror(
            "state/pad", qos=1, retain=True, max_hertz=1.0,
            on_change_of=("revision", "text", "brush", "automatic"),
        ),
    ),
    Topic(
        "pad.reading", PadResult, Kind.STATE, "pad",
        "what stands in the pad's boxes now, while somebody draws",
    ),
    Topic(
        "pad.result", PadResult, Kind.EVENT, "pad",
        "what was read on the pad: asked for, or once the hand rests",
        journalled=True,
        mirror=Mirror("event/pad", qos=1, retain=False),
    ),
    Topic(
        "model.state", ModelState, Kind.STATE, "updater",
        "which model is active, which was before, which is on trial",
        mirror=Mirror(
            "state/model", qos=1, retain=True, max_hertz=4.0,
            on_change_of=(
                "active", "previous", "trial", "pinned", "change", "step", "models", "follows", "offers",
            ),
        ),
    ),
    Topic(
        "model.progress", ModelProgress, Kind.EVENT, "updater",
        "a step of a model on its way into the car, or why it was not taken",
        journalled=True,
        mirror=Mirror("event/model", qos=1, retain=False),
    ),
    Topic(
        "model.wanted", ModelWanted, Kind.STATE, "updater",
        "which offers and which chunks of one the bridge is to bring",
    ),
    Topic(
        "health", Heartbeat, Kind.STATE, EVERY_SERVICE,
        "how each service is",
        hertz=1.0,
        mirror=Mirror(
            "status/{source}", qos=1, retain=True, on_change_of=("state", "reason", "details", "boot_id"),
        ),
    ),
    Topic(
        "bridge.cursor", JournalCursor, Kind.STATE, "bridge",
        "what the broker has acknowledged",
    ),
)  # fmt: skip

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}


def topic(name: str) -> Topic:
    """The row called `name`. Raises KeyError with the names there are."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise KeyError(f"no topic {name!r}; there are: {', '.join(BY_NAME)}") from None


def topics_of(service: str) -> tuple[Topic, ...]:
    """The topics that `service` publishes."""
    return tuple(row for row in TOPICS if row.owner in (service, EVERY_SERVICE))
