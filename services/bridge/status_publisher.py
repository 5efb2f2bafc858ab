"""Publishing states and replies below the car's topic prefix.

A retained topic is a level: what is to stand there is compared with what the broker has acknowledged, and is
sent until the two agree. So a refusal, a lost session and a broker that forgets are all made up for, and of
what waits for one topic only the newest is sent. A reply is sent once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from messages.command import Reply
from messages.errors import ErrorCode
from messages.message import encode
from services.bridge import reason_codes
from services.bridge.command_gateway import ReplyAddress
from services.bridge.connection import BrokerLimits
from services.bridge.session import Session
from services.metrics import Metrics

MAX_REPLIES = 64
"""Replies unacknowledged at once; more are dropped and counted."""
HEADER_BYTES = 32
"""What a packet has besides topic and payload, at most: fixed header, ids, correlation data aside."""


@dataclass
class _Retained:
    """One retained topic. `payload` is what is to stand there; empty bytes clear the topic."""

    payload: bytes
    qos: int
    stands: bytes | None = None
    """What the broker has taken in this session."""
    sent: bytes | None = None
    """What waits for its acknowledgement."""
    refusal: int = 0
    """The reason code of the last answer, where that was a refusal."""
    refused_times: int = 0
    """In a row."""
    not_before: float = float("-inf")


class StatusPublisher:
    """Publishes while there is a session; keeps what is retained for the next one. `clock` gives seconds."""

    def __init__(
        self,
        session: Session,
        prefix: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._prefix = prefix
        self._metrics = metrics
        self._clock = clock
        self._limits = BrokerLimits()
        self._retained: dict[str, _Retained] = {}
        self._waiting: dict[int, str] = {}
        """The topic of each retained message that waits for its acknowledgement, by handle."""
        self._replies: set[int] = set()

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        if retain:
            level = self._retained.setdefault(topic, _Retained(payload, qos))
            level.payload = payload
            self._settle(topic, level)
        elif self._fits(topic, payload):
            self._session.publish(self._prefix + topic, payload, qos)

    def reply(self, address: ReplyAddress, reply: Reply) -> None:
        payload = encode(reply)
        if not self._fits(address.topic, payload):
            why = f"the answer has {len(payload)} bytes, the broker takes {self._limits.packet_bytes}"
            payload = encode(Reply.refused(reply.id, ErrorCode.TOO_LARGE, why))
        if len(self._replies) >= MAX_REPLIES:
            self._metrics.count("replies_dropped")
            return
        handle = self._session.publish(self._prefix + address.topic, payload, correlation=address.correlation)
        if handle is not None:
            self._replies.add(handle)

    def acknowledged(self, handle: int, code: int) -> None:
        """The broker has answered a message; others' answers are passed over."""
        if handle in self._replies:
            self._replies.discard(handle)
            if reason_codes.is_refusal(code):
                self._metrics.count("replies_refused")
            return
        topic = self._waiting.pop(handle, None)
        if topic is None:
            return
        level = self._retained[topic]
        if reason_codes.is_refusal(code):
            level.refusal = code
            level.refused_times += 1
            level.not_before = self._clock() + reason_codes.again_after_s(code, level.refused_times)
        else:
            level.refusal = level.refused_times = 0
            level.stands = level.sent
        level.sent = None
        self._settle(topic, level)

    def session_up(self, limits: BrokerLimits) -> None:
        """A new session may have met a broker without memory; what is refused waits all the same."""
        self._limits = limits
        self._waiting.clear()
        self._replies.clear()
        for level in self._retained.values():
            level.stands = level.sent = None

    @property
    def is_waiting(self) -> bool:
        """Whether the broker has yet to answer something retained."""
        return bool(self._waiting)

    def settle(self) -> None:
        """Send what is to stand and doesn't. Call at the beginning of a session and a few times a second."""
        for topic, level in self._retained.items():
            self._settle(topic, level)

    def contradicted(self, topic: str) -> None:
        """Something else was seen on `topic`: `settle` sends ours again."""
        self._retained[topic].stands = None

    def say_again(self, *topics: str) -> None:
        """Publish what stands there once more."""
        for topic in topics:
            if topic in self._retained:
                self.contradicted(topic)

    def problem(self) -> str:
        """What the broker refuses, and the remedy, in a sentence; empty where it refuses nothing."""
        refused = {topic: level.refusal for topic, level in self._retained.items() if level.refusal}
        if not refused:
            return ""
        topics = ", ".join(self._prefix + topic for topic in sorted(refused)[:3])
        code = max(refused.values(), key=lambda each: not reason_codes.is_passing(each))
        remedy = reason_codes.remedy(code, f"publish below {self._prefix}#")
        return f"The broker refuses {topics} ({reason_codes.in_words(code)}); {remedy}."

    def _settle(self, topic: str, level: _Retained) -> None:
        payload = level.payload
        if level.sent is not None or payload == level.stands or self._clock() < level.not_before:
            return
        if not self._fits(topic, payload):
            self._metrics.count(ErrorCode.TOO_LARGE)
            level.stands = payload  # in vain: it will not fit another time
            return
        handle = self._session.publish(self._prefix + topic, payload, level.qos, retain=True)
        if handle is None:
            return
        if level.qos == 0:
            level.stands = payload
        else:
            level.sent = payload
            self._waiting[handle] = topic

    def _fits(self, topic: str, payload: bytes) -> bool:
        limit = self._limits.packet_bytes
        return not limit or len(payload) + len(self._prefix) + len(topic) + HEADER_BYTES <= limit
