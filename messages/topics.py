"""The table of topics. Endpoints, liveness, MQTT mirror, `smartcar topics` and tests derive from it.

A row is declared beside its message class; who publishes it says so in its class head.

    SPEED = Topic("drive.speed", Speed, Kind.STATE, "how fast the car goes",
                  mirror=Mirror("state/speed", qos=1, retain=True, max_hertz=2.0))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from messages.message import Message


class TopicKind(StrEnum):
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
    kind: TopicKind
    about: str
    hertz: float | None = None
    journalled: bool = False
    mirror: Mirror | None = None
    owner: str = ""
    """The service that publishes it; filled in from its class head."""


TOPICS: dict[str, Topic] = {}
"""Every topic by its name. Filled by `services.catalogue` from what the services publish."""


def register(owner: str, topics: Iterable[Topic]) -> None:
    """Add what the service `owner` publishes to TOPICS. Raises ValueError where a name is taken."""
    for row in topics:
        if row.name in TOPICS:
            raise ValueError(f"{row.name} is published by {TOPICS[row.name].owner} already")
        TOPICS[row.name] = row if row.owner else replace(row, owner=owner)


def topic(name: str) -> Topic:
    """The row called `name`. Raises KeyError with the names there are."""
    assert TOPICS, "import services.catalogue first"
    try:
        return TOPICS[name]
    except KeyError:
        raise KeyError(f"no topic {name!r}; there are: {', '.join(TOPICS)}") from None


def topics_of(service: str) -> tuple[Topic, ...]:
    assert TOPICS, "import services.catalogue first"
    return tuple(row for row in TOPICS.values() if row.owner in (service, EVERY_SERVICE))
