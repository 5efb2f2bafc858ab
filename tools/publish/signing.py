"""From a bundle to a release: for whom it is, when it was issued, until when, its counter, the signature."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from messages.message import MalformedMessage, decode
from messages.models import ModelState
from messages.offers import Offer
from models.bundle.bundle import Bundle, parse_manifest
from models.bundle.keys import SigningKey, verify_manifest
from models.bundle.manifest import MANIFEST_FILE
from models.refusal import Refusal
from tools.publish.mqtt_client import Received
from tools.terminal.problems import warn

MOST_AHEAD = 1000
"""A release that a car says it has had may be so far ahead of what was published."""


def release_of(
    bundle: Bundle,
    key: SigningKey,
    *,
    release: int,
    target: str | None = None,
    expires: datetime | None = None,
    url: str | None = None,
    issued: datetime | None = None,
) -> Bundle:
    """The bundle as a release of its own, signed. What is None stays as it is, `issued` becomes now.

    Raises BundleError where a value is none that a manifest may have.
    """
    content = json.loads(bundle.raw_manifest)
    content["release"] = release
    content["issued"] = (issued or datetime.now(UTC)).isoformat()
    if target is not None:
        content["target"] = target
    if expires is not None:
        content["expires"] = expires.isoformat()
    if url is not None:
        content["url"] = url
    raw = json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
    files = {**bundle.files(), MANIFEST_FILE: raw}
    return replace(Bundle.from_files(files, bundle.folder), signature=key.sign(raw))


def next_release(known: Iterable[Offer | None], reported: Mapping[str, int], key: SigningKey) -> int:
    """The counter after all releases that there were of this name; 0 where there was none.

    `known` are offers that stand or were withdrawn: those count that this key signed. `reported` is what
    cars say that they have had. They could say anything, so one that is far ahead is warned of, not followed.
    """
    last = max((_release_of_ours(offer, key) for offer in known if offer is not None), default=-1)
    believable = {car: release for car, release in reported.items() if release <= last + MOST_AHEAD}
    for car in reported.keys() - believable.keys():
        warn(
            f"{car} says that it has had release {reported[car]}, which is too far ahead to count on from; "
            f"if that is right, give --release {reported[car] + 1}."
        )
    return max([last, *believable.values()]) + 1


def reported_releases(name: str, messages: Iterable[Received]) -> dict[str, int]:
    """By car: the newest release of this name that its `state/model` tells of."""
    found: dict[str, int] = {}
    for message in messages:
        topic = message.topic.split("/")
        if topic[2:] != ["state", "model"] or not message.payload:
            continue
        try:
            state = decode(ModelState, message.payload)
        except MalformedMessage:
            continue  # of another version of smartcar
        had = [state.releases.get(name, -1), *(each.release for each in state.offers if each.name == name)]
        if max(had) >= 0:
            found[topic[1]] = max(had)
    return found


def _release_of_ours(offer: Offer, key: SigningKey) -> int:
    """The counter of an offer that this key signed; -1 for any other."""
    try:
        manifest = parse_manifest(offer.manifest, "the offer")
        verify_manifest(offer.manifest, offer.signature, manifest.name, [key.public])
    except Refusal:
        return -1
    return manifest.release
