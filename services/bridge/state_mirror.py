"""The bus on MQTT: which topics appear there, how often, and which of them the broker keeps.

All of it is derived from the rows' `Mirror`; a new topic in the table needs no code here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from messages.message import Message, encode
from messages.topics import EVERY_SERVICE, TOPICS, Mirror, Topic, TopicKind

IMAGES = "image/"
"""Mirrors below this topic are pictures, which `mqtt.images` switches."""


class PublishState(Protocol):
    """Publishes a payload on a topic below the car's prefix."""

    def __call__(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> object: ...


def mirrored(*, images: bool) -> list[Topic]:
    """The rows that go from the bus to MQTT directly; journalled ones go through their journal."""
    return [
        row
        for row in TOPICS.values()
        if row.mirror is not None
        and not row.journalled
        and (images or not row.mirror.topic.startswith(IMAGES))
    ]


def switched_off(services: Iterable[str], *, images: bool) -> list[str]:
    """Retained topics that are published no more and must not stand there from earlier."""
    if images:
        return []
    return [
        row.mirror.topic.format(source=source)
        for row in TOPICS.values()
        if row.mirror is not None and row.mirror.retain and row.mirror.topic.startswith(IMAGES)
        for source in (services if row.owner == EVERY_SERVICE else (row.owner,))
    ]


@dataclass
class _Track:
    """What was last published of one topic and one source."""

    mirror: Mirror
    value: tuple[Any, ...] | None = None
    published: float = float("-inf")
    waiting: Message | None = None


class StateMirror:
    """Decides for each message on the bus whether it goes to MQTT, now, later or not at all."""

    def __init__(self, publish: PublishState, clock: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._clock = clock
        self._tracks: dict[str, _Track] = {}

    def take(self, row: Topic, message: Message) -> None:
        mirror = row.mirror
        if mirror is None:
            return
        topic = mirror.topic.format(source=message.source)
        if row.kind is TopicKind.EVENT:
            self._publish(topic, _payload(mirror, message), mirror.qos, retain=mirror.retain)
            return
        track = self._tracks.setdefault(topic, _Track(mirror))
        if not _differs(track, message):
            track.waiting = None  # it has changed back before its turn came
        elif mirror.max_hertz is not None and self._clock() - track.published < 1 / mirror.max_hertz:
            track.waiting = message
        else:
            self._send(topic, track, message)

    def flush(self) -> None:
        """Publish what had to wait for its turn. Call a few times a second."""
        now = self._clock()
        for topic, track in self._tracks.items():
            period_s = 1 / track.mirror.max_hertz if track.mirror.max_hertz else 0.0
            if track.waiting is not None and now - track.published >= period_s:
                self._send(topic, track, track.waiting)

    def _send(self, topic: str, track: _Track, message: Message) -> None:
        mirror = track.mirror
        track.value = _value(mirror, message)
        track.published = self._clock()
        track.waiting = None
        self._publish(topic, _payload(mirror, message), mirror.qos, retain=mirror.retain)


def _value(mirror: Mirror, message: Message) -> tuple[Any, ...]:
    return tuple(getattr(message, name) for name in mirror.on_change_of)


def _differs(track: _Track, message: Message) -> bool:
    if not track.mirror.on_change_of or track.value is None:
        return True
    return track.value != _value(track.mirror, message)


def _payload(mirror: Mirror, message: Message) -> bytes:
    return getattr(message, mirror.payload_field) if mirror.payload_field else encode(message)
