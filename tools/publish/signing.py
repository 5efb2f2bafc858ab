"""From a bundle to a release: for whom it is, when it was issued, until when, its counter, the signature."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from models.bundle import Bundle
from models.keys import SigningKey
from models.manifest import MANIFEST_FILE


def release_of(
    bundle: Bundle,
    key: SigningKey,
    *,
    release: int,
    target: str | None = None,
    expires: datetime | None = None,
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
    raw = json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
    files = {**bundle.files(), MANIFEST_FILE: raw}
    return replace(Bundle.from_files(files, bundle.folder), signature=key.sign(raw))
