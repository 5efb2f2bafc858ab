"""Publishing all but events: what the broker can't or won't take is noticed and not tried again at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from messages.command import Reply
from messages.errors import ErrorCode
from messages.message import encode
from services.bridge.command_gateway import Address
from services.bridge.connection import Limits
from services.bridge.outbox import FIRST_REFUSAL_CODE, HEADER_BYTES, HOLD_S
from services.bridge.session import Session
from services.metrics import Metrics


class StatusPublisher:
    """Speaks below the car's `prefix` while there is a session; says nothing where there is none.

    A topic that the broker refused is left out for a minute: some brokers close the connection over it.
    """

    def __init__(
        self,
        session: Session,
        prefix: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = Limits()
        self._session = session
        self._prefix = prefix
        self._metrics = metrics
        self._clock = clock
        self._asked: dict[int, str] = {}
        self._denied: dict[str, float] = {}

    def publish(
        self, topic: str, payload: bytes, qos: int, *, retain: bool = False, correlation: bytes | None = None
    ) -> int | None:
        """Publish on `topic` below the prefix; returns the acknowledgement's handle, None if not sent."""
        if self._clock() < self._denied.get(topic, 0.0):
            return None
        if self._too_large(topic, payload):
            self._metrics.count(ErrorCode.TOO_LARGE)
            return None
        handle = self._session.publish(
            self._prefix + topic, payload, qos, retain=retain, correlation=correlation
        )
        if handle is not None and qos:
            self._asked[handle] = topic
        return handle

    def reply(self, address: Address, reply: Reply) -> None:
        """Answer a command."""
        payload = encode(reply)
        if self._too_large(address.topic, payload):
            why = f"the answer has {len(payload)} bytes, the broker takes {self.limits.packet_bytes}"
            payload = encode(Reply.refused(reply.id, ErrorCode.TOO_LARGE, why))
        self.publish(address.topic, payload, 1, correlation=address.correlation)

    def answered(self, handle: int, code: int) -> None:
        """The broker has acknowledged something with this reason code."""
        topic = self._asked.pop(handle, None)
        if topic is not None and code >= FIRST_REFUSAL_CODE:
            self._denied[topic] = self._clock() + HOLD_S

    def session_over(self) -> None:
        """What was asked is not answered any more."""
        self._asked.clear()

    def problem(self) -> str:
        """What the broker refuses, and the remedy, in a sentence; empty where it refuses nothing."""
        now = self._clock()
        self._denied = {topic: until for topic, until in self._denied.items() if until > now}
        if not self._denied:
            return ""
        topics = ", ".join(self._prefix + topic for topic in sorted(self._denied)[:3])
        return (
            f"the broker refuses {topics}; let this car's user publish below {self._prefix}# "
            f"(the broker's ACL)"
        )

    def _too_large(self, topic: str, payload: bytes) -> bool:
        limit = self.limits.packet_bytes
        return bool(limit) and len(payload) + len(self._prefix) + len(topic) + HEADER_BYTES > limit
