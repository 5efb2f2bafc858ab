"""Events to the broker, from the journals: QoS 1, in order, at least once, a bounded number at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from messages.journal_file import Entry
from messages.message import Message
from messages.topics import TOPICS, Topic
from services.bridge.connection import Limits
from services.bridge.connection_problem import PACKET_TOO_LARGE, ConnectionProblem
from services.bridge.cursor_store import CursorStore
from services.bridge.journal_consumer import PAGE, InFlightMessage, JournalConsumer
from services.metrics import Metrics

FIRST_REFUSAL_CODE = 128
TOPIC_INVALID, PAYLOAD_INVALID = 144, 153
UNSENDABLE = (TOPIC_INVALID, PACKET_TOO_LARGE, PAYLOAD_INVALID)
"""Refusals that concern one entry: another time would not help it, and must not stop the others."""

HOLD_S = 60.0
SUSPECT_TIMES = 3
SUSPECT_S = 2.0
SUSPECT_BYTES = 8 << 10
"""No broker's limit is lower; an entry below it isn't given up because the connection breaks."""
HEADER_BYTES = 32

log = logging.getLogger(__name__)


class Publish(Protocol):
    """Hands a payload to the session; its handle, or None where there is no session."""

    def __call__(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int | None: ...


@dataclass
class _Suspect:
    """The entry at which the connection broke, again and again."""

    service: str = ""
    number: int = 0
    times: int = 0


class Outbox:
    """Sends what the journals hold and moves their cursors as the broker acknowledges.

    After a break all that was not acknowledged is sent again. An entry that the broker will never take is
    skipped, counted and logged; where it takes none at all, because this user may not publish them, the
    events wait, `problem` says so, and one is tried from time to time.
    """

    def __init__(
        self,
        journals: dict[str, Path],
        cursors: CursorStore,
        prefix: str,
        publish: Publish,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""
        self._consumers = [JournalConsumer(service, path, cursors) for service, path in journals.items()]
        self._prefix = prefix
        self._publish = publish
        self._metrics = metrics
        self._clock = clock
        self._limits: Limits | None = None
        self._broken = False
        self._flights: dict[int, tuple[JournalConsumer, InFlightMessage, str, float]] = {}
        self._careful = False
        """Send one at a time: something was wrong, and it must show with which."""
        self._acknowledged_any = False
        self._hold_until = 0.0
        self._last_sent = 0.0
        self._suspect = _Suspect()
        self._skip: tuple[str, int] = ("", 0)

    def open(self, limits: Limits) -> None:
        """There is a session, and the broker has answered on it."""
        self._rewind()
        self._limits = limits
        self._broken = False
        self._acknowledged_any = False
        self.pump()

    def close(self, why: ConnectionProblem) -> None:
        """The session is over."""
        if self._limits is None:
            return
        self._limits = None
        if self._careful and len(self._flights) == 1:
            self._suspect_head(why)
        elif self._flights and not self._acknowledged_any:
            self._careful = True
        self._rewind()

    def heard(self, row: Topic, message: Message) -> None:
        """An event came over the bus."""
        for consumer in self._consumers:
            if consumer.service == row.owner:
                consumer.hear(row.name, message)
        self.wake()

    def wake(self) -> None:
        """There may be something new."""
        for consumer in self._consumers:
            consumer.exhausted = False
        self.pump()

    def pump(self) -> None:
        """Send as much as may be in flight, the journals taking turns."""
        if self._limits is None or self._clock() < self._hold_until:
            return
        window = 1 if self._careful else min(PAGE, self._limits.in_flight)
        hungry = True
        while hungry and not self._broken:
            hungry = False
            for consumer in self._consumers:
                room = window - len(self._flights)
                if room > 0 and not consumer.exhausted:
                    hungry = self._send(consumer, room) or hungry
        self._metrics.counters["missing"] = sum(consumer.missing for consumer in self._consumers)

    def acknowledged(self, handle: int, code: int) -> None:
        """The broker has answered a message; others' answers are passed over."""
        flight = self._flights.pop(handle, None)
        if flight is None:
            return
        consumer, entry, topic, sent = flight
        if code < FIRST_REFUSAL_CODE:
            self._acknowledged_any = True
            self._careful = False
            self.problem = ""
            self._metrics.count("delivered")
            self._metrics.observe("acknowledged", (self._clock() - sent) * 1000)
            consumer.settle(entry)
        elif code in UNSENDABLE:
            self._give_up(consumer, entry, f"the broker refuses it (reason {code})")
        else:
            self._hold(
                f"the broker refuses events on {topic} (MQTT reason {code}{_NAMES.get(code, '')}); "
                f"let this car's user publish there (the broker's ACL); they wait in the journal"
            )

    def backlog(self) -> int:
        """Entries in all journals that the broker has not acknowledged."""
        return sum(consumer.backlog() for consumer in self._consumers)

    def shut(self) -> None:
        for consumer in self._consumers:
            consumer.close()

    def _send(self, consumer: JournalConsumer, room: int) -> bool:
        """Send up to `room` entries; returns whether there may be more."""
        for entry in consumer.read(room):
            row = TOPICS.get(entry.topic)
            if row is None or row.mirror is None or consumer.has_gone(entry):
                flight, _ = consumer.take(entry)
                if row is None:
                    self._give_up(consumer, flight, f"nobody knows the topic {entry.topic!r}")
                else:
                    consumer.settle(flight)
                continue
            topic = self._prefix + row.mirror.topic
            unfit = self._unfit(consumer, entry, topic)
            if unfit:
                flight, _ = consumer.take(entry)
                self._give_up(consumer, flight, unfit)
                continue
            handle = self._publish(topic, entry.payload, row.mirror.qos)
            if handle is None:
                self._broken = True  # its end will be told soon
                return False
            flight, again = consumer.take(entry)
            self._flights[handle] = (consumer, flight, topic, self._clock())
            self._last_sent = self._clock()
            if again:
                self._metrics.count("resent")
        return not consumer.exhausted

    def _unfit(self, consumer: JournalConsumer, entry: Entry, topic: str) -> str:
        """Why the broker can't take this entry, or nothing."""
        size = len(entry.payload) + len(topic) + HEADER_BYTES
        limit = self._limits.packet_bytes if self._limits else 0
        if limit and size > limit:
            return f"it has {size} bytes and the broker takes {limit}"
        if self._skip == (consumer.service, entry.number):
            return f"the broker closes the connection over its {size} bytes"
        return ""

    def _give_up(self, consumer: JournalConsumer, flight: InFlightMessage, why: str) -> None:
        log.warning("event %d of %s is skipped: %s", flight.number, consumer.service, why)
        self._metrics.count("skipped")
        consumer.settle(flight)

    def _hold(self, why: str) -> None:
        self.problem = why
        self._careful = True
        self._hold_until = self._clock() + HOLD_S
        self._metrics.count("refused")
        self._rewind()

    def _rewind(self) -> None:
        self._flights.clear()
        for consumer in self._consumers:
            consumer.rewind()

    def _suspect_head(self, why: ConnectionProblem) -> None:
        """The session broke while one entry alone was in flight: perhaps over that entry."""
        ((consumer, flight, topic, _),) = self._flights.values()
        if why.disconnect_code != PACKET_TOO_LARGE:
            if self._clock() - self._last_sent > SUSPECT_S:
                return
            if (self._suspect.service, self._suspect.number) != (consumer.service, flight.number):
                self._suspect = _Suspect(consumer.service, flight.number)
            self._suspect.times += 1
            if self._suspect.times < SUSPECT_TIMES:
                return
            if flight.size < SUSPECT_BYTES:
                self.problem = (
                    f"the broker closes the connection whenever an event is published on {topic}; "
                    f"let this car's user publish there (the broker's ACL); they wait in the journal"
                )
                return
        self._skip = (consumer.service, flight.number)


_NAMES = {131: ", broker's own", 135: ", not authorised", 151: ", quota exceeded"}
