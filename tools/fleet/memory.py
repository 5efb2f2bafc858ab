"""What a rollout remembers: a note in the offer itself, so that the broker is its memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from messages.message import Part, new_ulid
from messages.offers import (
    MAX_OFFER_BYTES,
    ROOT,
    Offer,
    chunk_count,
    chunk_topic,
    offer_topic,
    parse_chunk_topic,
)
from models.bundle.bundle import Bundle, parse_manifest
from models.bundle.payload import bundle_of, payload_size
from models.refusal import Refusal
from tools.fleet.health import Before
from tools.publish.link import Link
from tools.terminal.problems import Problem

MAX_REMEMBERED = 1000
LISTEN_S = 30.0
MOST_BYTES = 128 << 20


class Note(Part):
    """Beside the offer. Cars don't read it."""

    before: dict[str, Before] = {}
    """How cars were when they were let have the model."""
    rolling_back: bool = False
    """It was given up, and the cars that have it are to go back:"""
    back: tuple[str, ...] = ()
    """these."""


class RolloutOffer(Offer):
    """An offer that is being widened."""

    rollout: Note | None = None

    def noted(self, before: Mapping[str, Before], back: Iterable[str] | None = None) -> RolloutOffer:
        """The same with another note; with `back` it is one of going back."""
        remembered = dict([*before.items()][:MAX_REMEMBERED])
        note = Note(before=remembered, rolling_back=back is not None, back=tuple(back or ()))
        return self.model_copy(update={"rollout": note})


def read_offer(payload: bytes) -> RolloutOffer | None:
    """The offer in a payload, with its note where it has one; None for anything else."""
    if not payload or len(payload) > MAX_OFFER_BYTES:
        return None
    try:
        return RolloutOffer.model_validate_json(payload)
    except ValidationError:
        return None


def standing_release(link: Link, name: str) -> tuple[RolloutOffer, Bundle] | None:
    """The offer of that name with its bundle, as they stand whole on the broker; else None. Raises LinkLost.

    What it listens to goes on coming on this link: use one of its own.
    """
    stood = _stood(link, f"{ROOT}{name}/#", f"{ROOT}{name}/looking/{new_ulid()}")
    offer = read_offer(stood.get(offer_topic(name), b""))
    if offer is None or hashlib.sha256(offer.manifest).hexdigest() != offer.digest:
        return None
    try:
        manifest = parse_manifest(offer.manifest, "the offer")
        if not name == offer.name == manifest.name:
            return None
        size = payload_size(manifest)
        count = chunk_count(size, offer.chunk_bytes)
        payload = b"".join(stood.get(chunk_topic(name, offer.digest, each), b"") for each in range(count))
        return offer, bundle_of(offer.manifest, offer.signature, payload, Path("the broker"))
    except Refusal:
        return None


def _stood(link: Link, pattern: str, marker: str) -> dict[str, bytes]:
    """What stands retained there, by topic."""
    stood: dict[str, bytes] = {}
    link.subscribe(pattern)
    link.publish([(marker, b"")], retain=False)  # brokers send what is retained before what comes later
    deadline = time.monotonic() + LISTEN_S
    while (came := link.received(deadline - time.monotonic())) is not None and came.topic != marker:
        if parse_chunk_topic(came.topic) is not None or came.topic.endswith("/offer"):
            stood[came.topic] = came.payload
        if sum(map(len, stood.values())) > MOST_BYTES:
            raise Problem(f"more stands below {pattern} than any model has; see who may publish there")
    return stood
