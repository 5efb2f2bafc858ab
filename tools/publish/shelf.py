"""What stands on the broker of one model: its offer, and chunks of it and of others."""

from __future__ import annotations

import hashlib

from messages.message import MalformedMessage
from messages.offers import ROOT, Offer, offer_topic, parse_chunk_topic, parse_offer
from tools.publish.link import Came


class Shelf:
    """Kept up to date by `take`. The broker orders what comes, so every onlooker sees the same sequence."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offer = b""
        """The payload of the offer that stands; empty: none."""
        self.offers_seen: list[str] = []
        """The digests of the offers that stood one after the other; empty ones left out."""
        self.chunks: dict[tuple[str, int], bytes] = {}
        """SHA-256 of each chunk that stands, by digest and number."""
        self.busy: set[str] = set()
        """Digests of which somebody put chunks there while we looked."""

    @property
    def pattern(self) -> str:
        """What to subscribe to."""
        return f"{ROOT}{self.name}/#"

    @property
    def standing(self) -> Offer | None:
        """The offer that stands, where it can be read."""
        try:
            return parse_offer(self.offer) if self.offer else None
        except MalformedMessage:
            return None

    def take(self, came: Came) -> bool:
        """Note a message; False where it is none of this model's."""
        if came.topic == offer_topic(self.name):
            self.offer = came.payload
            if (offer := self.standing) is not None:
                self.offers_seen.append(offer.digest)
            return True
        chunk = parse_chunk_topic(came.topic)
        if chunk is None or chunk[0] != self.name:
            return came.topic.startswith(f"{ROOT}{self.name}/")
        _, digest, number = chunk
        if not came.retained:
            self.busy.add(digest)
        if came.payload:
            self.chunks[digest, number] = hashlib.sha256(came.payload).digest()
        else:
            self.chunks.pop((digest, number), None)
        return True
