"""An offer as it stands on the broker, checked: is it one, who signed it, is it for this car.

offer = CheckedOffer.read("digits", content, CarTerms("car7", trusted=(key,)))
refusal = offer.objection(terms, known_time(time.time()), newest_release=3)
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from messages.clock import CLOCK_WAS_SET
from messages.errors import ErrorCode
from messages.message import MalformedMessage
from messages.offers import Offer, parse_offer
from messages.vision import ModelInfo
from models.bundle.bundle import parse_manifest
from models.bundle.manifest import Manifest, admit
from models.bundle.payload import payload_size
from models.refusal import Refusal


@dataclass(frozen=True)
class CarTerms:
    """What a bundle from elsewhere must keep to on this car."""

    car: str
    groups: Collection[str] = ()
    trusted: tuple[str, ...] = ()
    """Public keys, each as its line of text."""


@dataclass(frozen=True)
class CheckedOffer:
    """An offer that can be read; `signature_error` says what is wrong with its signature."""

    offer: Offer
    manifest: Manifest
    size: int
    """Of its payload, in bytes."""
    signature_error: Refusal | None

    @classmethod
    def read(cls, name: str, content: bytes, terms: CarTerms) -> CheckedOffer:
        """What stands as the offer of `name`. Raises Refusal where it is none."""
        try:
            offer = parse_offer(content)
        except MalformedMessage as error:
            raise Refusal(
                ErrorCode.BAD_OFFER, f"What stands as the offer of {name} is none: {error}."
            ) from None
        if hashlib.sha256(offer.manifest).hexdigest() != offer.digest:
            raise Refusal(ErrorCode.BAD_OFFER, f"The offer of {name} names another manifest than it has.")
        manifest = parse_manifest(offer.manifest, f"the offer of {name}")
        if not name == offer.name == manifest.name:
            raise Refusal(
                ErrorCode.BAD_OFFER, f"What stands as the offer of {name} is one of {manifest.name}."
            )
        return cls(offer, manifest, payload_size(manifest), _signature_error(offer, manifest, terms))

    @property
    def digest(self) -> str:
        """Of the bundle."""
        return self.offer.digest

    @property
    def model(self) -> ModelInfo:
        return ModelInfo(name=self.manifest.name, version=self.manifest.version, digest=self.digest)

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.manifest.name} {self.manifest.version}"

    def is_offered_to(self, terms: CarTerms) -> bool:
        """Whether its publisher lets this car take it now."""
        cars = self.offer.cars
        return cars is None or terms.car in cars or any(group in cars for group in terms.groups)

    def objection(self, terms: CarTerms, now: datetime | None, newest_release: int | None) -> Refusal | None:
        """Why nobody may have it on this car: signature, target, time, release. `now` as for `admit`."""
        if self.signature_error is not None:
            return self.signature_error
        try:
            admit(self.manifest, car=terms.car, groups=terms.groups, now=now, newest_release=newest_release)
        except Refusal as refusal:
            return refusal
        return None


def known_time(seconds: float) -> datetime | None:
    """The time that a clock shows; None for one that was never set."""
    return datetime.fromtimestamp(seconds, UTC) if seconds > CLOCK_WAS_SET else None


def _signature_error(offer: Offer, manifest: Manifest, terms: CarTerms) -> Refusal | None:
    from models.bundle.keys import PublicKey, verify_manifest

    try:
        keys = [PublicKey.parse(text) for text in terms.trusted]
        title = f"{manifest.name} {manifest.version}"
        verify_manifest(offer.manifest, offer.signature or None, title, keys)
    except Refusal as refusal:
        return refusal
    return None
