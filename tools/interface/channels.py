"""All that appears on MQTT, drawn together from the tables: topics, the bridge's own, commands."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from messages.command import Command, Door, verbs
from messages.offers import SHARED_TOPICS
from messages.topics import EVERY_SERVICE, Topic
from services.bridge.documents import COMMAND, OWN_TOPICS, REPLY
from services.catalogue import COMMANDS, TOPICS

ROOT = "smartcar/<car>/"
"""What the topics of a car begin with."""
JSON, JPEG, BYTES = "application/json", "image/jpeg", "application/octet-stream"


@dataclass(frozen=True)
class Said:
    """What is published on one topic. Variable parts of `topic` stand in angle brackets."""

    topic: str
    """Below ROOT; of what all cars share, the whole."""
    message: type[BaseModel] | None
    """None: bytes that are no JSON."""
    content_type: str
    qos: int
    retain: bool
    about: str
    when: str = ""
    """How often, where the table says it."""


@dataclass(frozen=True)
class Taken:
    """A command that a car takes from MQTT."""

    command: type[Command]
    by_default: bool
    """Whether `mqtt.commands` has it unless set otherwise."""

    @property
    def verb(self) -> str:
        return self.command.verb

    @property
    def topic(self) -> str:
        """Below ROOT."""
        return f"{COMMAND}/{self.verb.replace('.', '/')}"

    @property
    def reply(self) -> str:
        """Where the answer comes; below ROOT."""
        return f"{REPLY}/{self.verb.replace('.', '/')}"


def said() -> list[Said]:
    """What a car publishes, but for answers to commands."""
    own = [Said(row.topic, row.document, JSON, row.qos, row.retain, row.about) for row in OWN_TOPICS]
    return own + [_mirrored(row) for row in TOPICS.values() if row.mirror is not None]


def shared() -> list[Said]:
    """What all cars of a broker share: models on offer. Cars read it, a publisher writes it."""
    return [
        Said(row.pattern, row.message, JSON if row.message else BYTES, row.qos, row.retain, row.about)
        for row in SHARED_TOPICS
    ]


def taken() -> list[Taken]:
    """The commands that `mqtt.commands` may name."""
    default = verbs(Door.MQTT)
    return [Taken(COMMANDS[verb], verb in default) for verb in verbs(Door.MQTT, Door.MQTT_OPT_IN)]


def _mirrored(row: Topic) -> Said:
    mirror = row.mirror
    assert mirror is not None
    whole = not mirror.payload_field
    when = ""
    if mirror.on_change_of and row.owner != EVERY_SERVICE:
        fields = ", ".join(f"`{name}`" for name in mirror.on_change_of)
        when = f"on a change of {fields}"
    if mirror.max_hertz:
        when = f"{when}, at most {mirror.max_hertz:g}/s".lstrip(", ")
    return Said(
        mirror.topic.format(source="<service>"),
        row.message if whole else None,
        JSON if whole else JPEG,
        mirror.qos,
        mirror.retain,
        row.about,
        when,
    )
