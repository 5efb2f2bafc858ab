"""What a broker retains of one model: its offer, the newest withdrawn one, and chunks of it and of others."""

from __future__ import annotations

import hashlib
import json

from messages.message import MalformedMessage
from messages.offers import ROOT, Offer, offer_topic, parse_chunk_topic, parse_offer, withdrawn_topic
from tools.publish.mqtt_client import Received


class RetainedModel:
    """Kept up to date by `take`. The broker orders messages, so every subscriber sees the same sequence."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offer = b""
        """The payload of the offer that stands; empty: none."""
        self.offers_seen: list[str] = []
        """The digests of the offers that stood one after the other; empty ones left out."""
        self.withdrawn: Offer | None = None
        """The newest offer that was withdrawn."""
        self.chunks: dict[tuple[str, int], bytes] = {}
        """SHA-256 of each chunk that stands, by digest and number."""
        self.busy: set[str] = set()
        """Digests of which somebody put chunks there while we looked."""

    @property
    def pattern(self) -> str:
        return f"{ROOT}{self.name}/#"

    @property
    def standing(self) -> Offer | None:
        return _offer_in(self.offer)

    def take(self, message: Received) -> bool:
        """Note a message; False where it is none of this model's."""
        if message.topic == offer_topic(self.name):
            self.offer = message.payload
            if (offer := self.standing) is not None:
                self.offers_seen.append(offer.digest)
            return True
        if message.topic == withdrawn_topic(self.name):
            self.withdrawn = _offer_in(message.payload)
            return True
        chunk = parse_chunk_topic(message.topic)
        if chunk is None or chunk[0] != self.name:
            return message.topic.startswith(f"{ROOT}{self.name}/")
        _, digest, number = chunk
        if not message.retained:
            self.busy.add(digest)
        if message.payload:
            self.chunks[digest, number] = hashlib.sha256(message.payload).digest()
        else:
            self.chunks.pop((digest, number), None)
        return True


def release_in(offer: Offer | None) -> int:
    """The release counter in an offer's manifest; -1 where there is none. The signature isn't looked at."""
    try:
        return int(json.loads(offer.manifest)["release"]) if offer is not None else -1
    except (ValueError, TypeError, LookupError):
        return -1


def _offer_in(payload: bytes) -> Offer | None:
    try:
        return parse_offer(payload) if payload else None
    except MalformedMessage:
        return None
