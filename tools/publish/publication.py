"""A release put on the broker: its chunks first, then its offer, then the former chunks away.

So whoever follows sees the former offer whole or this one whole, at every moment and whoever is killed. Of
two publishers at once the one whose offer the broker takes last has the last word; each clears only what
can't stand any more: chunks of offers that came before its own, and those of which nobody has put anything
there while it looked. Should another clear or replace chunks of ours all the same, `tend` puts them back.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from messages.message import new_ulid
from messages.offers import (
    MAX_CHUNK_BYTES,
    MAX_OFFER_BYTES,
    MIN_CHUNK_BYTES,
    ROOT,
    Offer,
    chunk_count,
    chunk_topic,
    offer_change,
    offer_topic,
    withdrawn_topic,
)
from models.bundle.bundle import Bundle, parse_manifest
from models.bundle.payload import payload_of, payload_size
from models.refusal import Refusal
from services.bridge.documents import WANTED, PartsWanted
from tools.publish.mqtt_client import MqttClient, Received
from tools.publish.retained_model import RetainedModel, release_in
from tools.terminal.problems import Problem

ECHO_S = 10.0
"""Nothing came for this long after the offer: the broker doesn't pass it on."""
ANSWERS_S = 4.0
"""A car that is asked has answered by then; one that has just connected listens after two seconds."""
HEADER_BYTES = 512
"""What a packet has besides a chunk: topic, properties."""
MOST_REPAIRS = 200
WANTED_PATTERN = f"smartcar/+/{WANTED}"
"""On this cars say what the broker doesn't hand out to them."""
SERVED_S = 3.0
"""So long nothing is said again: all who wait for it have heard it."""

log = logging.getLogger(__name__)


class Publication:
    """A signed bundle on its way to the cars.

    `keep`: a digest whose chunks stay on the broker, so that its offer can be put back. `heard` gets what
    comes and isn't about this model.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        cars: tuple[str, ...] | None = None,
        chunk_bytes: int = MAX_CHUNK_BYTES,
        keep: str = "",
        heard: Callable[[Received], None] = lambda _: None,
    ) -> None:
        """Raises Problem for a bundle that isn't signed."""
        if bundle.signature is None:
            raise Problem(f"{bundle.manifest.name} is not signed; give --key, or smartcar model sign it.")
        self.bundle = bundle
        self.name, self.digest = bundle.manifest.name, bundle.digest
        self.change = offer_change(bundle.digest)
        """The id of the change that each car tells of."""
        self.offer = Offer(
            name=self.name,
            digest=self.digest,
            manifest=bundle.raw_manifest,
            signature=bundle.signature,
            chunk_bytes=chunk_bytes,
            cars=cars,
            published=datetime.now(UTC),
        )
        self.keep = keep
        self._heard = heard
        self._asked: set[int | None] = set()
        """Chunks that cars want to be said again; None: the offer."""
        self._served: dict[int | None, float] = {}
        self._repairs = 0
        payload = payload_of(bundle)
        parts = (payload[at : at + chunk_bytes] for at in range(0, len(payload), chunk_bytes))
        self._chunks = dict(enumerate(parts))
        self._hashes = {number: hashlib.sha256(part).digest() for number, part in self._chunks.items()}
        self._encoded()  # too large is said before anything is sent

    # steps; each may be done again on another client

    def put(self, client: MqttClient, retained: RetainedModel) -> None:
        """Have it stand on the broker, whole. `retained` was looked at. Raises ConnectionLost, Problem."""
        client.publish(self._missing(retained), retain=True)
        self._offer(client, retained)
        self.clear_outdated(client, retained)

    def clear_outdated(self, client: MqttClient, retained: RetainedModel) -> None:
        """Take away chunks that belong to no offer any more. Raises ConnectionLost, Problem."""
        self._hear(client, retained)
        client.publish(self._outdated(retained), retain=True)

    def widen(self, client: MqttClient, retained: RetainedModel, cars: tuple[str, ...] | None) -> None:
        """Let these cars take it now, or all. Raises ConnectionLost, Problem: another offer stands."""
        self.hear(client, retained, 0.0)
        if self.superseded(retained):
            raise Problem(f"Another offer of {self.name} stands now; it is not widened.")
        self.offer = self.offer.model_copy(update={"cars": cars, "published": datetime.now(UTC)})
        self._offer(client, retained)

    def hear(self, client: MqttClient, retained: RetainedModel, timeout_s: float) -> None:
        """Take what comes within a time, and put back what others took from the broker meanwhile."""
        self._hear(client, retained, timeout_s)
        if not self.superseded(retained):
            self.tend(client, retained)
            self._serve(client)

    def tend(self, client: MqttClient, retained: RetainedModel) -> None:
        """Put back chunks that others cleared or replaced. Raises Problem where that never ends."""
        missing = list(self._missing(retained))
        self._repairs += len(missing)
        if self._repairs > MOST_REPAIRS:
            raise Problem(
                f"Somebody else clears or replaces the chunks of {self.name} again and again; "
                f"see who may publish below {ROOT} (the broker's ACL)."
            )
        if missing:
            log.warning("%d chunks were cleared or replaced by another, and are put back", len(missing))
            client.publish(missing, retain=True)

    def _serve(self, client: MqttClient) -> None:
        """Say again what cars wait for, where the broker doesn't do so by itself."""
        now = time.monotonic()
        due = [each for each in self._asked if now - self._served.get(each, 0.0) > SERVED_S]
        self._asked.clear()
        if not due or client.hands_out_by_wildcard:
            return
        self._served |= dict.fromkeys(due, now)
        again = [
            (chunk_topic(self.name, self.digest, each), self._chunks[each])
            for each in due
            if each is not None
        ]
        if None in due:
            again.append((offer_topic(self.name), self._encoded()))
        client.publish(again, retain=True)

    def is_forgotten(self, client: MqttClient, retained: RetainedModel) -> bool:
        """The broker has lost its memory, or this node of it knows an earlier state alone."""
        standing = retained.standing
        if standing is None:
            return True
        earlier = release_in(standing) < release_in(self.offer) or standing.digest == self.digest
        return earlier and not client.hands_out_by_wildcard

    def superseded(self, retained: RetainedModel) -> bool:
        """Whether another offer stands, or none, since this one did."""
        standing = retained.standing
        return standing is None or standing.digest != self.digest

    def _offer(self, client: MqttClient, retained: RetainedModel) -> None:
        """Publish the offer, and wait until the broker passes it on: from then on its order is known."""
        content = self._encoded()
        came: list[bytes] = []
        client.publish([(offer_topic(self.name), content)], retain=True)
        while content not in came:
            message = client.received(ECHO_S)  # the chunks come back before it: each gives more time
            if message is None:
                raise Problem("The broker takes the offer but doesn't pass it on; see its ACL.")
            if message.topic == offer_topic(self.name):
                came.append(message.payload)
            self._take(retained, message)

    def _encoded(self) -> bytes:
        content = self.offer.encoded()
        if len(content) > MAX_OFFER_BYTES:
            raise Problem(
                f"The offer would have {len(content)} bytes, {MAX_OFFER_BYTES} are allowed: "
                "name fewer cars at once, or a group."
            )
        return content

    def _missing(self, retained: RetainedModel) -> Iterator[tuple[str, bytes]]:
        for number, part in self._chunks.items():
            if retained.chunks.get((self.digest, number)) != self._hashes[number]:
                yield chunk_topic(self.name, self.digest, number), part
                # What comes back later is compared with this again.
                retained.chunks[self.digest, number] = self._hashes[number]

    def _outdated(self, retained: RetainedModel) -> Iterator[tuple[str, bytes]]:
        """Chunks that are nobody's any more."""
        seen = retained.offers_seen
        place = max(at for at, digest in enumerate(seen) if digest == self.digest)
        before, since = set(seen[:place]), set(seen[place:])
        for digest, number in sorted(retained.chunks):
            if digest == self.keep:
                continue
            orphan = digest not in seen and digest not in retained.busy
            beyond = digest == self.digest and number not in self._chunks
            if (digest in before and digest not in since) or orphan or beyond:
                yield chunk_topic(self.name, digest, number), b""

    def _hear(self, client: MqttClient, retained: RetainedModel, timeout_s: float = 0.0) -> None:
        deadline = time.monotonic() + timeout_s
        while (came := client.received(deadline - time.monotonic())) is not None:
            self._take(retained, came)

    def _take(self, retained: RetainedModel, came: Received) -> None:
        if came.topic.endswith(f"/{WANTED}"):
            self._note_wanted(came)
        elif not retained.take(came):
            self._heard(came)

    def _note_wanted(self, came: Received) -> None:
        try:
            wanted = PartsWanted.model_validate_json(came.payload)
        except ValidationError:
            return
        if self.name in wanted.offers:
            self._asked.add(None)
        if (wanted.name, wanted.digest) == (self.name, self.digest):
            self._asked |= self._chunks.keys() & set(wanted.chunks)


def largest_chunk(client: MqttClient) -> int:
    """How long chunks may be on this broker. Raises Problem where not even an offer would fit."""
    if client.packet_bytes is None:
        return MAX_CHUNK_BYTES
    fits = (client.packet_bytes - HEADER_BYTES) // MIN_CHUNK_BYTES * MIN_CHUNK_BYTES
    if fits < MIN_CHUNK_BYTES:
        raise Problem(
            f"The broker takes packets of {client.packet_bytes} bytes: too few for an offer; "
            f"let it take more (Mosquitto: max_packet_size)."
        )
    return min(MAX_CHUNK_BYTES, fits)


def look(
    client: MqttClient,
    name: str,
    also: tuple[str, ...] = (),
    heard: Callable[[Received], None] = lambda _: None,
) -> RetainedModel:
    """What the broker retains of this model; the client hears from then on what changes.

    `also` are further patterns to subscribe to, `heard` gets what comes there. The offer is asked for on its
    own first: some brokers retain nothing through wildcards. There the cars are asked, and listened to for a
    while. Raises ConnectionLost, Problem.
    """
    retained = RetainedModel(name)
    for patterns in ((offer_topic(name), withdrawn_topic(name)), (retained.pattern, *also)):
        for message in client.retained(new_marker(name), *patterns):
            if not retained.take(message):
                heard(message)
    if also:
        client.ask_cars()
        deadline = time.monotonic() + (0.0 if client.hands_out_by_wildcard else ANSWERS_S)
        while (left := deadline - time.monotonic()) > 0 and (came := client.received(left)) is not None:
            if not retained.take(came):
                heard(came)
    return retained


def withdraw(client: MqttClient, name: str) -> int:
    """Take a model's offer and all chunks off the broker; returns how many topics were cleared.

    The offer goes first, and what it was stays on a topic of its own: the next release counts on from it.
    Raises ConnectionLost, and Problem where something stands again afterwards.
    """
    retained = RetainedModel(name)
    for message in client.retained(new_marker(name), offer_topic(name), withdrawn_topic(name)):
        retained.take(message)
    cleared: set[str] = set()

    def clear(topics: Iterable[str]) -> None:
        fresh = [topic for topic in topics if topic not in cleared]
        cleared.update(fresh)
        client.publish(((topic, b"") for topic in fresh), retain=True)

    if retained.offer:
        note_withdrawn(client, retained, retained.standing)
        clear([offer_topic(name)])
        clear(chunk_topics(retained.standing))  # known from its manifest: they need not be fetched for it
    retained = look(client, name)
    clear([offer_topic(name)] if retained.offer else [])
    clear(chunk_topic(name, digest, number) for digest, number in sorted(retained.chunks))
    retained = look(client, name)
    if retained.offer or retained.chunks:
        raise Problem(f"{name} stands on the broker again: somebody else publishes it; withdraw it again.")
    return len(cleared)


def note_withdrawn(client: MqttClient, retained: RetainedModel, offer: Offer | None) -> None:
    """Leave word of the offer that is being withdrawn, unless a newer one was already."""
    if offer is not None and release_in(offer) > release_in(retained.withdrawn):
        content = Offer.model_validate({**offer.model_dump(), "cars": ()}).encoded()
        client.publish([(withdrawn_topic(retained.name), content)], retain=True)


def chunk_topics(offer: Offer | None) -> list[str]:
    """Where the chunks of an offer stand, as its manifest has it; nothing where that can't be read."""
    if offer is None:
        return []
    try:
        size = payload_size(parse_manifest(offer.manifest, "the offer"))
    except Refusal:
        return []
    numbers = range(chunk_count(size, offer.chunk_bytes))
    return [chunk_topic(offer.name, offer.digest, number) for number in numbers]


def new_marker(name: str) -> str:
    """A topic that nobody else uses, for MqttClient.retained."""
    return f"{ROOT}{name}/looking/{new_ulid()}"
