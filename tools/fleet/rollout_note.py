"""What a rollout remembers: a note in the offer itself, so that the broker is its memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from messages.message import Part
from messages.offers import MAX_OFFER_BYTES, Offer, offer_topic
from models.bundle.bundle import Bundle
from models.bundle.payload import bundle_of
from models.refusal import Refusal
from tools.fleet.health import Baseline
from tools.publish.mqtt_client import MqttClient
from tools.publish.publication import chunk_topics, new_marker

MAX_REMEMBERED = 1000
AT_ONCE = 64
"""Chunks that are asked for at once."""


class RolloutNote(Part):
    """Beside the offer. Cars don't read it."""

    before: dict[str, Baseline] = {}
    """How cars were when they were let have the model."""
    rolling_back: bool = False
    """It was given up, and the cars that have it are to go back:"""
    back: tuple[str, ...] = ()
    """these."""
    former: Offer | None = None
    """What stood before, to be put back should the rollout be taken back."""


class RolloutOffer(Offer):
    """An offer that is being widened."""

    rollout: RolloutNote | None = None

    def noted(
        self, before: Mapping[str, Baseline], former: Offer | None, back: Iterable[str] | None = None
    ) -> RolloutOffer:
        """The same with another note; with `back` it is one of going back."""
        remembered = dict([*before.items()][:MAX_REMEMBERED])
        note = RolloutNote(
            before=remembered, rolling_back=back is not None, back=tuple(back or ()), former=former
        )
        return self.model_copy(update={"rollout": note})


def read_offer(payload: bytes) -> RolloutOffer | None:
    """The offer in a payload, with its note where it has one; None for anything else."""
    if not payload or len(payload) > MAX_OFFER_BYTES:
        return None
    try:
        return RolloutOffer.model_validate_json(payload)
    except ValidationError:
        return None


def standing_release(client: MqttClient, name: str) -> tuple[RolloutOffer, Bundle] | None:
    """The offer of that name with its bundle, where both stand whole on the broker; else None.

    What it listens to goes on coming on this client: use one of its own. Raises ConnectionLost, Problem.
    """
    topic = offer_topic(name)
    stood = {message.topic: message.payload for message in client.retained(new_marker(name), topic)}
    offer = read_offer(stood.get(topic, b""))
    if offer is None or offer.name != name:
        return None
    bundle = fetch_bundle(client, offer)
    return (offer, bundle) if bundle is not None else None


def fetch_bundle(client: MqttClient, offer: Offer) -> Bundle | None:
    """The bundle of an offer, from its chunks on the broker; None where they aren't whole.

    Each chunk is asked for by its own topic: some brokers retain nothing through wildcards, and what others
    left there need not be fetched. Raises ConnectionLost, Problem.
    """
    if hashlib.sha256(offer.manifest).hexdigest() != offer.digest:
        return None
    topics = chunk_topics(offer)
    if not topics:
        return None
    stood: dict[str, bytes] = {}
    for first in range(0, len(topics), AT_ONCE):
        for message in client.retained(new_marker(offer.name), *topics[first : first + AT_ONCE]):
            stood[message.topic] = message.payload
    payload = b"".join(stood.get(topic, b"") for topic in topics)
    try:
        return bundle_of(offer.manifest, offer.signature, payload, Path("the broker"))
    except Refusal:
        return None
