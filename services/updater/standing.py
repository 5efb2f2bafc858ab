"""An offer as it stands on the broker, read and judged: is it one, who signed it, is it for this car."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from messages.message import MalformedMessage
from messages.offers import Offer, parse_offer
from messages.vision import ModelInfo
from models.bundle.bundle import parse_manifest
from models.bundle.manifest import Manifest, admit
from models.bundle.payload import payload_size
from models.refusal import Reason, Refusal
from services.updater.workshop import Terms


@dataclass(frozen=True)
class Standing:
    """An offer that can be read; `flaw` is what is wrong with its signature."""

    offer: Offer
    manifest: Manifest
    size: int
    """Of its payload, in bytes."""
    flaw: Refusal | None

    @property
    def digest(self) -> str:
        return self.offer.digest

    @property
    def model(self) -> ModelInfo:
        return ModelInfo(name=self.manifest.name, version=self.manifest.version, digest=self.digest)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.manifest.name} {self.manifest.version}"

    def is_let(self, terms: Terms) -> bool:
        """Whether its publisher lets this car take it now."""
        cars = self.offer.cars
        return cars is None or terms.car in cars or any(group in cars for group in terms.groups)

    def objection(self, terms: Terms, now: datetime | None, newest_release: int | None) -> Refusal | None:
        """Why nobody may have it on this car: signature, target, time, release. `now` as for `admit`."""
        if self.flaw is not None:
            return self.flaw
        try:
            admit(self.manifest, car=terms.car, groups=terms.groups, now=now, newest_release=newest_release)
        except Refusal as refusal:
            return refusal
        return None


def read_standing(name: str, content: bytes, terms: Terms) -> Standing:
    """What stands as the offer of `name`. Raises Refusal where it is none."""
    try:
        offer = parse_offer(content)
    except MalformedMessage as error:
        raise Refusal(Reason.BAD_OFFER, f"What stands as the offer of {name} is none: {error}.") from None
    if hashlib.sha256(offer.manifest).hexdigest() != offer.digest:
        raise Refusal(Reason.BAD_OFFER, f"The offer of {name} names another manifest than it has.")
    manifest = parse_manifest(offer.manifest, f"the offer of {name}")
    if not name == offer.name == manifest.name:
        raise Refusal(Reason.BAD_OFFER, f"What stands as the offer of {name} is one of {manifest.name}.")
    return Standing(offer, manifest, payload_size(manifest), _flaw(offer, manifest, terms))


def _flaw(offer: Offer, manifest: Manifest, terms: Terms) -> Refusal | None:
    from models.bundle.keys import PublicKey, verify_manifest

    try:
        keys = [PublicKey.parse(text) for text in terms.trusted]
        title = f"{manifest.name} {manifest.version}"
        verify_manifest(offer.manifest, offer.signature or None, title, keys)
    except Refusal as refusal:
        return refusal
    return None
