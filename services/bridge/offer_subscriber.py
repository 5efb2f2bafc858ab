"""Subscribes to the offers and chunks that the updater wants, and hands them over.

The updater decides what it wants and says so on `model.wanted`. Each chunk is taken once, and kept until the
updater has it, so memory is bounded by what is wanted, whatever the broker sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from messages.command import Command, Reply
from messages.errors import ErrorCode
from messages.model_commands import ModelChunk, ModelOffer
from messages.offers import MAX_CHUNK_BYTES, MAX_OFFER_BYTES, ROOT, ModelWanted, chunk_topic, offer_topic
from messages.rpc.clients import Ask
from services.bridge import reason_codes
from services.bridge.documents import PartsWanted
from services.bridge.rate_limit import TokenBucket
from services.metrics import Metrics

DEADLINE_S = 5.0
OFFERS_AT_ONCE, OFFERS_PER_SECOND = 5, 1.0
"""How many offers of one name are handed over; of those that come faster, the newest is."""
LACKS_AFTER_S = 3.0
"""What was subscribed to and stands retained would have come by then."""
LACKS_AGAIN_S = 15.0
_NOT_HEARD = frozenset({ErrorCode.NO_ANSWER, ErrorCode.BUSY, ErrorCode.MALFORMED_REPLY})


class Subscriptions(Protocol):
    """What is asked of the MQTT session."""

    @property
    def is_up(self) -> bool: ...

    def subscribe(self, pattern: str, *, keep_retain_flag: bool = False) -> None: ...

    def unsubscribe(self, pattern: str) -> None: ...


class OfferSubscriber:
    """Used in the bridge's loop alone. `ask` hands a command to the updater; `clock` gives seconds."""

    def __init__(
        self,
        session: Subscriptions,
        ask: Ask,
        metrics: Metrics,
        lacks: Callable[[PartsWanted], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""
        self._lacks = lacks
        self._lacking: dict[str, float] = {}
        """By topic: when it is said that nothing has come there."""
        self._session, self._ask, self._metrics, self._clock = session, ask, metrics, clock
        self._wanted = ModelWanted()
        self._offers: dict[str, Callable[[bytes], Command]] = {}
        self._chunks: dict[str, Callable[[bytes], Command]] = {}
        """What is wanted: by topic, the command that hands it over."""
        self._subscribed: set[str] = set()
        self._came: set[str] = set()
        """Topics of chunks that came in this round."""
        self._waiting: dict[str, bytes] = {}
        """By topic: what the updater is to have. The newest offer of a name is enough."""
        self._asking: set[str] = set()
        self._limits: dict[str, TokenBucket] = {}
        """By topic of an offer."""

    def want(self, wanted: ModelWanted) -> None:
        """The updater wants this now."""
        before, self._wanted = self._wanted, wanted
        self._offers = {offer_topic(name): partial(_offer, name) for name in wanted.offers}
        self._chunks = {
            chunk_topic(wanted.name, wanted.digest, number): partial(_chunk, wanted.digest, number)
            for number in wanted.chunks
        }
        if wanted.boot_id != before.boot_id:  # it knows nothing of what was brought before
            self._limits.clear()
            self._leave(self._subscribed)
        if (wanted.boot_id, wanted.digest, wanted.round) != (before.boot_id, before.digest, before.round):
            self._came.clear()
            self._leave(self._subscribed - set(self._offers))
        self._follow()

    def session_up(self) -> None:
        """All that stands retained is to come again."""
        self._subscribed.clear()
        self._lacking.clear()
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
                f"The broker refuses the subscription to {topic} ({reason_codes.in_words(code)}); "
                f"{reason_codes.remedy(code, f'read {ROOT}#')}, or set models.follow = []."
            )

    def message_came(self, topic: str, payload: bytes) -> None:
        """A message below ROOT."""
        self._lacking.pop(topic, None)
        if topic in self._offers:
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
        self._tell_what_is_lacking()

    def _tell_what_is_lacking(self) -> None:
        """An offer once, since there may be none; chunks again and again."""
        now = self._clock()
        late = {topic for topic, due in self._lacking.items() if topic in self._subscribed and now >= due}
        if not late:
            return
        for topic in late:
            self._lacking[topic] = now + LACKS_AGAIN_S if topic in self._chunks else float("inf")
        wanted = self._wanted
        chunks = (each for each in wanted.chunks if chunk_topic(wanted.name, wanted.digest, each) in late)
        offers = tuple(name for name in wanted.offers if offer_topic(name) in late)
        self._lacks(PartsWanted(offers=offers, name=wanted.name, digest=wanted.digest, chunks=tuple(chunks)))

    def _follow(self) -> None:
        """Subscribe to what is wanted, and to nothing else."""
        if not self._session.is_up:
            return
        target = set(self._offers) | (set(self._chunks) - self._came)
        self._leave(self._subscribed - target)
        for topic in sorted(target - self._subscribed):
            self._session.subscribe(topic)
            self._lacking[topic] = self._clock() + LACKS_AFTER_S
        self._subscribed = target
        wanted = self._offers | self._chunks
        self._waiting = {topic: each for topic, each in self._waiting.items() if topic in wanted}

    def _leave(self, topics: set[str]) -> None:
        for topic in topics:
            self._session.unsubscribe(topic)
            self._lacking.pop(topic, None)
        self._subscribed = self._subscribed - topics

    def _hand_over(self, topic: str) -> None:
        """One at a time of a topic."""
        payload = self._waiting.get(topic)
        command = (self._offers | self._chunks).get(topic)
        if payload is None or command is None or topic in self._asking:
            return
        if topic in self._offers:
            limit = TokenBucket(OFFERS_AT_ONCE, OFFERS_PER_SECOND, self._clock)
            if not self._limits.setdefault(topic, limit).take():
                return
        self._asking.add(topic)
        self._ask(command(payload), partial(self._answered, topic, payload), DEADLINE_S)

    def _answered(self, topic: str, payload: bytes, reply: Reply) -> None:
        self._asking.discard(topic)
        if reply.error is not None and reply.error.code in _NOT_HEARD:
            return  # with the next tick
        if self._waiting.get(topic) is payload:
            del self._waiting[topic]


def _offer(name: str, content: bytes) -> Command:
    return ModelOffer(name=name, content=content)


def _chunk(digest: str, number: int, content: bytes) -> Command:
    return ModelChunk(digest=digest, number=number, content=content)
