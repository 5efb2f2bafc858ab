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
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from messages.message import new_ulid
from messages.offers import (
    MAX_CHUNK_BYTES,
    MAX_OFFER_BYTES,
    MIN_CHUNK_BYTES,
    ROOT,
    Offer,
    chunk_topic,
    offer_change,
    offer_topic,
)
from models.bundle.bundle import Bundle
from models.bundle.payload import payload_of
from tools.publish.link import Came, Link
from tools.publish.shelf import Shelf
from tools.terminal.problems import Problem

ECHO_S = 10.0
HEADER_BYTES = 512
"""What a packet has besides a chunk: topic, properties."""
MOST_REPAIRS = 200

log = logging.getLogger(__name__)


class Publication:
    """A signed bundle on its way to the cars. `heard` gets what comes and isn't about this model."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        cars: tuple[str, ...] | None = None,
        chunk_bytes: int = MAX_CHUNK_BYTES,
        heard: Callable[[Came], None] = lambda _: None,
    ) -> None:
        """Raises Problem for a bundle that isn't signed."""
        if bundle.signature is None:
            raise Problem(f"{bundle.manifest.name} is not signed; give --key, or smartcar model sign it")
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
        self._heard = heard
        self._repairs = 0
        payload = payload_of(bundle)
        parts = (payload[at : at + chunk_bytes] for at in range(0, len(payload), chunk_bytes))
        self._chunks = dict(enumerate(parts))
        self._hashes = {number: hashlib.sha256(part).digest() for number, part in self._chunks.items()}
        self._encoded()  # too large is said before anything is sent

    # steps; each may be done again on another link

    def put(self, link: Link, shelf: Shelf) -> None:
        """Have it stand on the broker, whole. `shelf` was looked at. Raises LinkLost, Problem."""
        link.publish(self._missing(shelf), retain=True)
        self._offer(link, shelf)
        self._hear(link, shelf)
        link.publish(self._outdated(shelf), retain=True)

    def widen(self, link: Link, shelf: Shelf, cars: tuple[str, ...] | None) -> None:
        """Let these cars take it now, or all. Raises LinkLost, Problem: another offer stands."""
        self.hear(link, shelf, 0.0)
        if self.superseded(shelf):
            raise Problem(f"another offer of {self.name} stands now; it is not widened")
        self.offer = self.offer.model_copy(update={"cars": cars, "published": datetime.now(UTC)})
        self._offer(link, shelf)

    def hear(self, link: Link, shelf: Shelf, timeout_s: float) -> None:
        """Take what comes within a time, and put back what others took from the broker meanwhile."""
        self._hear(link, shelf, timeout_s)
        if not self.superseded(shelf):
            self.tend(link, shelf)

    def tend(self, link: Link, shelf: Shelf) -> None:
        """Put back chunks that others cleared or replaced. Raises Problem where that never ends."""
        missing = list(self._missing(shelf))
        self._repairs += len(missing)
        if self._repairs > MOST_REPAIRS:
            raise Problem(
                f"somebody else clears or replaces the chunks of {self.name} again and again; "
                f"see who may publish below {ROOT} (the broker's ACL)"
            )
        if missing:
            log.warning("%d chunks were cleared or replaced by another, and are put back", len(missing))
            link.publish(missing, retain=True)

    def superseded(self, shelf: Shelf) -> bool:
        """Whether another offer stands, or none, since this one did."""
        standing = shelf.standing
        return standing is None or standing.digest != self.digest

    def _offer(self, link: Link, shelf: Shelf) -> None:
        """Publish the offer, and wait until the broker passes it on: from then on its order is known."""
        content = self._encoded()
        came: list[bytes] = []
        link.publish([(offer_topic(self.name), content)], retain=True)
        deadline = time.monotonic() + ECHO_S
        while content not in came:
            if time.monotonic() > deadline:
                raise Problem("the broker takes the offer but doesn't pass it on; see its ACL")
            message = link.received(deadline - time.monotonic())
            if message is None:
                continue
            if message.topic == offer_topic(self.name):
                came.append(message.payload)
            self._take(shelf, message)

    def _encoded(self) -> bytes:
        content = self.offer.encoded()
        if len(content) > MAX_OFFER_BYTES:
            raise Problem(
                f"the offer would have {len(content)} bytes, {MAX_OFFER_BYTES} are allowed: "
                "name fewer cars at once, or a group"
            )
        return content

    def _missing(self, shelf: Shelf) -> Iterator[tuple[str, bytes]]:
        for number, part in self._chunks.items():
            if shelf.chunks.get((self.digest, number)) != self._hashes[number]:
                yield chunk_topic(self.name, self.digest, number), part
                # What comes back later is compared with this again.
                shelf.chunks[self.digest, number] = self._hashes[number]

    def _outdated(self, shelf: Shelf) -> Iterator[tuple[str, bytes]]:
        """Chunks that are nobody's any more."""
        seen = shelf.offers_seen
        place = max(at for at, digest in enumerate(seen) if digest == self.digest)
        before, since = set(seen[:place]), set(seen[place:])
        for digest, number in sorted(shelf.chunks):
            orphan = digest not in seen and digest not in shelf.busy
            beyond = digest == self.digest and number not in self._chunks
            if (digest in before and digest not in since) or orphan or beyond:
                yield chunk_topic(self.name, digest, number), b""

    def _hear(self, link: Link, shelf: Shelf, timeout_s: float = 0.0) -> None:
        deadline = time.monotonic() + timeout_s
        while (came := link.received(deadline - time.monotonic())) is not None:
            self._take(shelf, came)

    def _take(self, shelf: Shelf, came: Came) -> None:
        if not shelf.take(came):
            self._heard(came)


def largest_chunk(link: Link) -> int:
    """How long chunks may be on this broker. Raises Problem where not even an offer would fit."""
    if link.packet_bytes is None:
        return MAX_CHUNK_BYTES
    fits = (link.packet_bytes - HEADER_BYTES) // MIN_CHUNK_BYTES * MIN_CHUNK_BYTES
    if fits < MIN_CHUNK_BYTES:
        raise Problem(
            f"the broker takes packets of {link.packet_bytes} bytes: too few for an offer; "
            f"let it take more (Mosquitto: max_packet_size)"
        )
    return min(MAX_CHUNK_BYTES, fits)


def look(
    link: Link, name: str, also: tuple[str, ...] = (), heard: Callable[[Came], None] | None = None
) -> Shelf:
    """What stands on the broker of this model; the link hears from then on what changes.

    `also` are further patterns to subscribe to, `heard` gets what comes there. Raises LinkLost, Problem.
    """
    shelf = Shelf(name)
    link.subscribe(shelf.pattern, *also)
    marker = f"{ROOT}{name}/looking/{new_ulid()}"
    link.publish([(marker, b"")], retain=False)  # brokers send what is retained before what comes later
    deadline = time.monotonic() + ECHO_S
    while (came := link.received(deadline - time.monotonic())) is not None and came.topic != marker:
        if not shelf.take(came) and heard is not None:
            heard(came)
    return shelf


def withdraw(link: Link, name: str) -> int:
    """Take a model's offer and all chunks off the broker; returns how many topics were cleared."""
    shelf = look(link, name)
    topics = [offer_topic(name)] if shelf.offer else []
    topics += [chunk_topic(name, digest, number) for digest, number in sorted(shelf.chunks)]
    return link.publish(((topic, b"") for topic in topics), retain=True)
