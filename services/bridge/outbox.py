"""Events to the broker, from the journals: QoS 1, in order, at least once, a bounded number at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from messages.journal_file import JournalEntry
from messages.message import Message
from messages.topics import TOPICS, Topic
from services.bridge import reason_codes
from services.bridge.connection import BrokerLimits
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.cursor_store import CursorStore
from services.bridge.journal_consumer import PAGE, InFlightMessage, JournalConsumer
from services.bridge.session import Publish
from services.bridge.status_publisher import HEADER_BYTES
from services.metrics import Metrics

SUSPECT_TIMES = 3
SUSPECT_S = 2.0
SUSPECT_BYTES = 8 << 10
"""No broker's limit is lower; an entry below it isn't given up because the connection breaks."""

log = logging.getLogger(__name__)


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
        self._limits: BrokerLimits | None = None
        self._broken = False
        self._in_flight: dict[int, InFlightMessage] = {}
        self._careful = False
        """Send one at a time: something was wrong, and it must show with which."""
        self._acknowledged_any = False
        self._hold_until = 0.0
        self._suspect = _Suspect()
        self._skip: tuple[str, int] = ("", 0)

    def open(self, limits: BrokerLimits) -> None:
        """There is a session, and the broker has answered on it."""
        self._rewind()
        self._limits = limits
        self._broken = False
        self._acknowledged_any = False
        self.pump()

    def close(self, why: ConnectionProblem) -> None:
        if self._limits is None:
            return
        self._limits = None
        if self._careful and len(self._in_flight) == 1:
            self._suspect_head(why)
        elif self._in_flight and not self._acknowledged_any:
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
                room = window - len(self._in_flight)
                if room > 0 and not consumer.exhausted:
                    hungry = self._send(consumer, room) or hungry
        self._metrics.counters["missing"] = sum(consumer.missing for consumer in self._consumers)

    def acknowledged(self, handle: int, code: int) -> None:
        """The broker has answered a message; others' answers are passed over."""
        message = self._in_flight.pop(handle, None)
        if message is None:
            return
        if not reason_codes.is_refusal(code):
            self._acknowledged_any = True
            self._careful = False
            self.problem = ""
            self._metrics.count("delivered")
            self._metrics.observe("acknowledged", (self._clock() - message.sent_at) * 1000)
            message.consumer.settle(message)
        elif code in reason_codes.UNSENDABLE:
            self._give_up(message, f"the broker refuses it (reason {code})")
        else:
            self._hold(message.topic, code)

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
            if row is None or row.mirror is None:
                self._give_up(consumer.take(entry), f"nobody knows the topic {entry.topic!r}")
                continue
            if consumer.has_gone(entry):
                consumer.settle(consumer.take(entry))
                continue
            topic = self._prefix + row.mirror.topic
            unfit = self._unfit(consumer, entry, topic)
            if unfit:
                self._give_up(consumer.take(entry), unfit)
                continue
            handle = self._publish(topic, entry.payload, row.mirror.qos)
            if handle is None:
                self._broken = True  # its end will be told soon
                return False
            message = self._in_flight[handle] = consumer.take(entry)
            message.topic, message.sent_at = topic, self._clock()
            if message.is_repeated:
                self._metrics.count("resent")
        return not consumer.exhausted

    def _unfit(self, consumer: JournalConsumer, entry: JournalEntry, topic: str) -> str:
        """Why the broker can't take this entry, or nothing."""
        size = len(entry.payload) + len(topic) + HEADER_BYTES
        limit = self._limits.packet_bytes if self._limits else 0
        if limit and size > limit:
            return f"it has {size} bytes and the broker takes {limit}"
        if self._skip == (consumer.service, entry.number):
            return f"the broker closes the connection over its {size} bytes"
        return ""

    def _give_up(self, message: InFlightMessage, why: str) -> None:
        log.warning("event %d of %s is skipped: %s", message.entry.number, message.consumer.service, why)
        self._metrics.count("skipped")
        message.consumer.settle(message)

    def _hold(self, topic: str, code: int) -> None:
        self.problem = (
            f"The broker refuses events on {topic} ({reason_codes.in_words(code)}); "
            f"{reason_codes.remedy(code, 'publish there')}; they wait in the journal."
        )
        self._careful = True
        self._hold_until = self._clock() + reason_codes.again_after_s(code)
        self._metrics.count("refused")
        self._rewind()

    def _rewind(self) -> None:
        self._in_flight.clear()
        for consumer in self._consumers:
            consumer.rewind()

    def _suspect_head(self, why: ConnectionProblem) -> None:
        """The session broke while one entry alone was in flight: perhaps over that entry."""
        (message,) = self._in_flight.values()
        service, entry = message.consumer.service, message.entry
        if why.disconnect_code != reason_codes.PACKET_TOO_LARGE:
            if self._clock() - message.sent_at > SUSPECT_S:
                return
            if (self._suspect.service, self._suspect.number) != (service, entry.number):
                self._suspect = _Suspect(service, entry.number)
            self._suspect.times += 1
            if self._suspect.times < SUSPECT_TIMES:
                return
            if len(entry.payload) < SUSPECT_BYTES:
                self.problem = (
                    f"The broker closes the connection whenever an event is published on {message.topic}; "
                    f"let this car's user publish there (the broker's ACL); they wait in the journal."
                )
                return
        self._skip = (service, entry.number)
