"""What is sent of a bundle beside its manifest: its files one after the other, in the manifest's order."""

from __future__ import annotations

from pathlib import Path

from models.bundle.bundle import Bundle, BundleError, parse_manifest
from models.bundle.manifest import MANIFEST_FILE, MAX_FILE_BYTES, SIGNATURE_FILE, Manifest

MAX_PAYLOAD_BYTES = sum(MAX_FILE_BYTES.values())


def payload_of(bundle: Bundle) -> bytes:
    files = bundle.files()
    return b"".join(files[entry.name] for entry in bundle.manifest.files)


def payload_size(manifest: Manifest) -> int:
    """How long the payload is. Raises BundleError where a file is larger than a bundle may hold."""
    for entry in manifest.files:
        if entry.size > MAX_FILE_BYTES[entry.name]:
            raise BundleError(
                "too_large",
                f"{entry.name} is to have {entry.size} bytes; {MAX_FILE_BYTES[entry.name]} are allowed.",
            )
    return sum(entry.size for entry in manifest.files)


def bundle_of(raw_manifest: bytes, signature: bytes | None, payload: bytes, where: Path) -> Bundle:
    """The bundle that a manifest and a payload make; `where` is named in what goes wrong.

    Raises BundleError where the payload isn't what the manifest says, byte for byte.
    """
    manifest = parse_manifest(raw_manifest, where)
    size = payload_size(manifest)
    if len(payload) != size:
        raise BundleError(
            "wrong_size", f"{len(payload)} bytes came where the manifest says {size}; offer it again."
        )
    files = {MANIFEST_FILE: raw_manifest}
    offset = 0
    for entry in manifest.files:
        files[entry.name] = payload[offset : offset + entry.size]
        offset += entry.size
    if signature:
        files[SIGNATURE_FILE] = signature
    return Bundle.from_files(files, where)
