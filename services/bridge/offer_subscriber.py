"""Brings the updater what it wants from the broker: offers, and chunks of one of them.

It decides nothing. It subscribes to just what `model.wanted` names, takes each chunk once, and hands over
until the updater has it: so memory is bounded by what is wanted, whatever the broker sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from messages.command import Command, Reply
from messages.model_commands import ModelChunk, ModelOffer
from messages.offers import (
    MAX_CHUNK_BYTES,
    MAX_OFFER_BYTES,
    ROOT,
    ModelWanted,
    chunk_topic,
    offer_topic,
)
from messages.rpc.clients import Ask
from services.bridge import reason_codes
from services.bridge.rate_limit import TokenBucket
from services.metrics import Metrics

DEADLINE_S = 5.0
OFFERS_AT_ONCE, OFFERS_PER_SECOND = 5, 1.0
"""Not more of a name are handed over: the newest is enough."""
_NOT_HEARD = frozenset({"no-answer", "busy", "malformed-reply"})


class Session(Protocol):
    """What is asked of the MQTT session."""

    @property
    def is_up(self) -> bool: ...

    def subscribe(self, pattern: str, *, keep_retain_flag: bool = False) -> None: ...

    def unsubscribe(self, pattern: str) -> None: ...


class OfferSubscriber:
    """Belongs to the bridge's loop."""

    def __init__(
        self, session: Session, ask: Ask, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session, self._ask, self._metrics, self._clock = session, ask, metrics, clock
        self._wanted = ModelWanted()
        self._subscribed: set[str] = set()
        self._came: set[str] = set()
        """Topics of chunks that came in this round."""
        self._waiting: dict[str, bytes] = {}
        """By topic: what the updater is to have. The newest offer of a name is enough."""
        self._asking: set[str] = set()
        self._let: dict[str, TokenBucket] = {}
        """By topic of an offer."""
        self.problem = ""

    def want(self, wanted: ModelWanted) -> None:
        """The updater wants this now."""
        before, self._wanted = self._wanted, wanted
        if wanted.boot_id != before.boot_id:  # it knows nothing of what was brought before
            self._let.clear()
            self._leave(self._subscribed)
        elif (wanted.digest, wanted.round) != (before.digest, before.round):
            self._leave({topic for topic in self._subscribed if topic not in self._offer_topics})
        if (wanted.boot_id, wanted.digest, wanted.round) != (before.boot_id, before.digest, before.round):
            self._came.clear()
        self._follow()

    def session_up(self) -> None:
        """All that stands retained is to come again."""
        self._subscribed.clear()
        self._came.clear()
        self.problem = ""
        self._follow()

    def session_down(self) -> None:
        """Nothing comes any more."""
        self._subscribed.clear()

    def subscription_answered(self, topic: str, code: int) -> None:
        """The broker agreed, or not."""
        if topic not in self._subscribed:
            return
        self.problem = ""
        if reason_codes.is_refusal(code):
            self.problem = (
                f"the broker refuses the subscription to {topic} ({reason_codes.in_words(code)}); "
                f"{reason_codes.remedy(code, f'read {ROOT}#')}, or set models.follow = []"
            )

    def message_came(self, topic: str, payload: bytes) -> None:
        """A message below ROOT."""
        if topic in self._offer_topics:
            self._waiting[topic] = payload[: MAX_OFFER_BYTES + 1]
        elif topic in self._chunks and topic not in self._came:
            self._came.add(topic)
            self._leave({topic})  # once is enough
            self._waiting[topic] = payload[: MAX_CHUNK_BYTES + 1]
        else:
            self._metrics.count("offers.unwanted")
            return
        self._hand_over(topic)

    def tick(self) -> None:
        """Call a few times a second: what the updater didn't hear is said again."""
        for topic in tuple(self._waiting):
            self._hand_over(topic)

    # how it is done

    @property
    def _offer_topics(self) -> dict[str, str]:
        return {offer_topic(name): name for name in self._wanted.offers}

    @property
    def _chunks(self) -> dict[str, int]:
        wanted = self._wanted
        return {chunk_topic(wanted.name, wanted.digest, number): number for number in wanted.chunks}

    def _follow(self) -> None:
        """Subscribe to what is wanted, and to nothing else."""
        if not self._session.is_up:
            return
        target = set(self._offer_topics) | (set(self._chunks) - self._came)
        self._leave(self._subscribed - target)
        for topic in sorted(target - self._subscribed):
            self._session.subscribe(topic)
        self._subscribed = target
        self._waiting = {topic: each for topic, each in self._waiting.items() if topic in self._known()}

    def _bucket(self) -> TokenBucket:
        return TokenBucket(OFFERS_AT_ONCE, OFFERS_PER_SECOND, self._clock)

    def _known(self) -> set[str]:
        return set(self._offer_topics) | set(self._chunks)

    def _leave(self, topics: set[str]) -> None:
        for topic in topics:
            self._session.unsubscribe(topic)
        self._subscribed = self._subscribed - topics

    def _hand_over(self, topic: str) -> None:
        """One at a time of a topic."""
        payload = self._waiting.get(topic)
        if payload is None or topic in self._asking:
            return
        offers, chunks = self._offer_topics, self._chunks
        command: Command
        if topic in offers:
            if not self._let.setdefault(topic, self._bucket()).take():
                return
            command = ModelOffer(name=offers[topic], content=payload)
        elif topic in chunks:
            command = ModelChunk(digest=self._wanted.digest, number=chunks[topic], content=payload)
        else:
            del self._waiting[topic]
            return
        self._asking.add(topic)
        self._ask(command, lambda reply: self._answered(topic, payload, reply), DEADLINE_S)

    def _answered(self, topic: str, payload: bytes, reply: Reply) -> None:
        self._asking.discard(topic)
        if reply.error is not None and reply.error.code in _NOT_HEARD:
            return  # with the next tick
        if self._waiting.get(topic) is payload:
            del self._waiting[topic]
