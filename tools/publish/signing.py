"""From a bundle to a release: for whom it is, when it was issued, until when, its counter, the signature."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from messages.offers import Offer
from models.bundle.bundle import Bundle, parse_manifest
from models.bundle.keys import SigningKey, verify_manifest
from models.bundle.manifest import MANIFEST_FILE
from models.refusal import Refusal


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


def next_release(standing: Offer | None, key: SigningKey) -> int:
    """The counter of the release after the one that stands, where that is ours; else 0."""
    if standing is None:
        return 0
    try:
        manifest = parse_manifest(standing.manifest, "the offer that stands")
        verify_manifest(standing.manifest, standing.signature, manifest.name, [key.public])
    except Refusal:
        return 0
    return manifest.release + 1
