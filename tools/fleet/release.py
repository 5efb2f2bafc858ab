"""What is to be rolled out: a bundle from the disk, or the release whose rollout has begun already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from messages.offers import MAX_CHUNK_BYTES, Offer
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.manifest import MAX_FILE_BYTES
from models.bundle.payload import bundle_of, payload_of
from tools.fleet.rollout_note import RolloutOffer, fetch_bundle, standing_release
from tools.model.making import read_bundle
from tools.publish.mqtt_client import MqttClient, Received
from tools.publish.publication import look
from tools.publish.signing import next_release, release_of, reported_releases
from tools.terminal.problems import Problem


@dataclass(frozen=True)
class Release:
    """What is rolled out. `standing`: the offer by which that was begun; `previous`: what stood instead."""

    bundle: Bundle
    standing: RolloutOffer | None = None
    previous: tuple[Offer, Bundle] | None = None
    chunk_bytes: int = MAX_CHUNK_BYTES
    """As the broker takes them."""


def release_for(client: MqttClient, subject: str, key: Path | None, url: str | None = None) -> Release:
    """`subject` is a path, or the name of an offer that stands. Raises Problem, Refusal, ConnectionLost."""
    path = Path(subject)
    if url is not None and key is None:
        raise Problem("What is signed can't be changed: give --key to sign it with its URL.")
    if not path.exists():
        found = standing_release(client, subject) if _is_name(subject) else None
        if found is None:
            _nothing(subject)
        return _resumed(client, found[0], found[1])
    bundle = read_bundle(path)
    found = standing_release(client, bundle.manifest.name)
    if found is not None and _is_same(found[1], bundle):
        offer = found[0]
        resigned = bundle_of(offer.manifest, offer.signature, payload_of(bundle), path)
        return _resumed(client, offer, resigned)
    if bundle.manifest.has_expired(datetime.now(UTC)):
        raise Problem(f"{bundle.manifest.name} {bundle.manifest.version} has expired: no car would take it.")
    if key is not None:
        signing = SigningKey.load(key)
        messages: list[Received] = []
        retained = look(client, bundle.manifest.name, ("smartcar/+/state/model",), messages.append)
        reported = reported_releases(bundle.manifest.name, messages)
        number = next_release((retained.standing, retained.withdrawn), reported, signing)
        bundle = release_of(bundle, signing, release=max(bundle.manifest.release, number), url=url)
    return Release(bundle, previous=found)


def _resumed(client: MqttClient, offer: RolloutOffer, bundle: Bundle) -> Release:
    """A rollout that has begun, with what it replaces where that is still whole on the broker."""
    former = offer.rollout.former if offer.rollout is not None else None
    whole = fetch_bundle(client, former) if former is not None else None
    return Release(bundle, offer, (former, whole) if former is not None and whole is not None else None)


def _is_name(subject: str) -> bool:
    return subject.replace("-", "a").isalnum()


def _nothing(subject: str) -> NoReturn:
    raise Problem(
        f"{subject} is no bundle here, and no offer of that name stands whole on the broker; "
        "give a bundle's folder or zip, with --key where it isn't signed."
    )


def _is_same(standing: Bundle, bundle: Bundle) -> bool:
    """Whether it is the same release, signed again perhaps."""
    same_files = all(standing.files().get(name) == bundle.files().get(name) for name in MAX_FILE_BYTES)
    return same_files and standing.manifest.version == bundle.manifest.version
