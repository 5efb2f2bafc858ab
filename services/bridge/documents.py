"""What is published on MQTT alone, below `smartcar/<car>/`: the car as a whole. All is JSON."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Literal

from pydantic import BaseModel, ConfigDict

from messages.command import COMMANDS
from messages.health import Heartbeat
from messages.topics import EVERY_SERVICE, TOPICS
from services import board
from services.config import Settings

STATUS = "status"
INFO = "info"
METRICS = "metrics"
WANTED = "wanted"
COMMAND = "cmd"
REPLY = "reply"

_TOPIC = re.compile(r"[^+#\x00\ud800-\udfff]{1,256}")

CarState = Literal["starting", "ready", "degraded", "stopped", "lost"]


def car_prefix(car: str) -> str:
    """What all topics of a car begin with."""
    return f"smartcar/{car}/"


def is_topic(text: str) -> bool:
    """Whether this may be published on: no wildcard, no surrogate, at most 256 characters."""
    return _TOPIC.fullmatch(text) is not None


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def encoded(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)


class CarStatus(Document):
    """`status`, retained: how the car is. `lost` is the last will, left with the broker.

    `session` is a ULID, new with every connection: a `lost` that names an older session than the latest
    status is stale. `bridge` is a ULID made when the bridge started: two at a time are two cars of one name.
    `services` holds the state of each, `silent` for one that says nothing.
    """

    state: CarState
    session: str
    bridge: str = ""
    reason: str = ""
    services: dict[str, str] = {}
    since: datetime | None = None


class CarInfo(Document):
    """`info`, retained: what this car is, and which topics and commands it has."""

    car: str
    session: str
    version: str
    hardware: str
    system: str
    python: str
    protocol: str
    started: datetime
    topics: tuple[str, ...]
    commands: dict[str, str]
    groups: tuple[str, ...] = ()
    """Groups of cars that it belongs to: a model, or a rollout, may be for a group."""


class ServiceMetrics(Document):
    """One service in `metrics`; the fields are those of its heartbeat."""

    state: str
    uptime_s: float
    memory_mb: float
    processor_percent: float
    restarts: int
    rates: dict[str, float]
    counters: dict[str, int]
    latency_ms: dict[str, float]


class CarMetrics(Document):
    """`metrics`, every ten seconds: how the board is, what each service counts and times."""

    car: str
    session: str
    wall_time: datetime
    memory_mb: float
    """Of all services, in MiB."""
    temperature_c: float | None = None
    """Of the processor, in °C; null where the board doesn't tell."""
    under_voltage: bool | None = None
    """Whether the supply is too weak."""
    throttled: bool | None = None
    """Whether the processor is slowed down, for want of power or for heat."""
    services: dict[str, ServiceMetrics]


class PartsWanted(Document):
    """`wanted`: what the car waits for below `smartcar/models/` and the broker doesn't hand out.

    A publisher that listens says it again: a cluster may keep what is retained on one node alone.
    """

    offers: tuple[str, ...] = ()
    """Names of models."""
    name: str = ""
    digest: str = ""
    chunks: tuple[int, ...] = ()
    """Of the offer with this name and digest."""


@dataclass(frozen=True)
class OwnTopic:
    """A topic that the bridge itself fills."""

    topic: str
    document: type[Document]
    qos: int
    retain: bool
    about: str


OWN_TOPICS: tuple[OwnTopic, ...] = (
    OwnTopic(
        STATUS, CarStatus, qos=1, retain=True,
        about="how the car is, whenever that changes; the last will says `lost`",
    ),
    OwnTopic(INFO, CarInfo, qos=1, retain=True, about="what this car is and takes, at every connection"),
    OwnTopic(METRICS, CarMetrics, qos=0, retain=False, about="figures of board and services, every 10 s"),
    OwnTopic(
        WANTED, PartsWanted, qos=1, retain=False,
        about="offers and chunks that the car waits for and the broker doesn't hand out",
    ),
)  # fmt: skip


def retained_topics(sources: Iterable[str]) -> list[str]:
    """All that a car leaves with the broker, below its prefix. `sources`: its services."""
    services = tuple(sources)
    return [own.topic for own in OWN_TOPICS if own.retain] + [
        row.mirror.topic.format(source=source)
        for row in TOPICS.values()
        if row.mirror is not None and row.mirror.retain
        for source in (services if row.owner == EVERY_SERVICE else (row.owner,))
    ]


def info(settings: Settings, session: str, protocol: str, started: datetime) -> CarInfo:
    """This car's `info`. `protocol`: the version of MQTT that is spoken."""
    prefix = car_prefix(settings.car.name)
    mirrored = tuple(
        prefix + row.mirror.topic.format(source="+") for row in TOPICS.values() if row.mirror is not None
    )
    return CarInfo(
        car=settings.car.name,
        session=session,
        version=version(),
        hardware=hardware(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        protocol=protocol,
        started=started,
        topics=(*mirrored, *(f"{prefix}{own.topic}" for own in OWN_TOPICS)),
        commands={verb: COMMANDS[verb].about for verb in settings.mqtt.commands if verb in COMMANDS},
        groups=settings.models.groups,
    )


def metrics(car: str, session: str, heartbeats: dict[str, Heartbeat]) -> CarMetrics:
    """The latest heartbeats in one, with the board's figures."""
    figures = board.read()
    return CarMetrics(
        car=car,
        session=session,
        wall_time=datetime.now(UTC),
        memory_mb=round(sum(beat.memory_mb for beat in heartbeats.values()), 1),
        temperature_c=figures.temperature_c,
        under_voltage=figures.under_voltage,
        throttled=figures.throttled,
        services={
            name: ServiceMetrics.model_validate(beat.model_dump()) for name, beat in heartbeats.items()
        },
    )


def version() -> str:
    """Of smartcar."""
    try:
        return metadata.version("smartcar")
    except metadata.PackageNotFoundError:
        return "source"  # run from its folder, without being installed


def hardware() -> str:
    """The board's name, else the processor's kind."""
    return board.read().model or platform.machine()
