"""Bundles and keys on a PC: make, sign, verify."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from messages.errors import ErrorCode
from models.bundle.acceptance import Proof
from models.bundle.archive import pack, read_archive
from models.bundle.bundle import Bundle, read_regular
from models.bundle.keys import PublicKey, SigningKey
from models.bundle.keys import verify as verify_signature
from models.bundle.manifest import (
    EYE_FILE,
    MANIFEST_FILE,
    MAX_FILE_BYTES,
    SIGNATURE_FILE,
    FileEntry,
    GoldenTerms,
    Manifest,
)
from models.importing.isolated import prove
from models.refusal import Refusal
from models.store_reader import FACTORY_FOLDER
from tools.model.by_tensorflow import take
from tools.terminal.output import as_dict, print_json, say
from tools.terminal.output_file import write_output
from tools.terminal.problems import Problem

LATENCY_MS = 100.0
"""Five digits on the slowest machine we support."""
MARGIN = 0.02
"""What a car may find less than was found here: it rounds otherwise."""


@dataclass(frozen=True)
class Description:
    """What a model file doesn't say of itself."""

    name: str
    version: str
    release: int
    target: str
    expires: datetime | None
    accuracy: float | None


def read_bundle(path: Path) -> Bundle:
    """The bundle in a folder or a zip. Raises Refusal."""
    return Bundle.load(path) if path.is_dir() else read_archive(path)


def make(model: Path, output: Path, description: Description, key: Path | None, *, json: bool) -> int:
    """Make a bundle of `model`, test it on the shipped golden digits, write it to `output`."""
    if output.exists():
        raise Problem(f"{output} is there already; give another name.")
    signing = SigningKey.load(key) if key is not None else None
    taken = take(model, Bundle.load(FACTORY_FOLDER))
    bundle, proof = _described(taken.bundle, description, taken.proof), taken.proof
    if signing is not None:
        bundle = replace(bundle, signature=signing.sign(bundle.raw_manifest))
    prove(bundle)
    _write(bundle, output)
    _tell(bundle, proof, output, json=json)
    return 0


def sign(path: Path, key: Path) -> int:
    """Put a signature into the bundle at `path`."""
    signing = SigningKey.load(key)
    bundle = read_bundle(path)
    signed = replace(bundle, signature=signing.sign(bundle.raw_manifest))
    if path.is_dir():
        write_output(path / SIGNATURE_FILE, signed.files()[SIGNATURE_FILE])
    else:
        write_output(path, pack(signed))
    say(f"{bundle.manifest.name} {bundle.manifest.version} signed by {signing.public.fingerprint}")
    return 0


def set_eye(path: Path, eye: Path) -> int:
    """Put the eye in the file `eye` into the bundle at `path`, once it has passed its test there."""
    bundle = read_bundle(path)
    content = read_regular(eye, MAX_FILE_BYTES[EYE_FILE])
    others = [entry for entry in bundle.manifest.files if entry.name != EYE_FILE]
    entry = FileEntry(name=EYE_FILE, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest = bundle.manifest.model_copy(update={"files": (*others, entry)})
    raw = manifest.model_dump_json(indent=2).encode() + b"\n"
    files = {**bundle.files(), MANIFEST_FILE: raw, EYE_FILE: content}
    files.pop(SIGNATURE_FILE, None)
    changed = Bundle.from_files(files, bundle.folder)
    prove(changed)
    if path.is_dir():
        (path / SIGNATURE_FILE).unlink(missing_ok=True)
        write_output(path / EYE_FILE, content)
        write_output(path / MANIFEST_FILE, raw)
    else:
        write_output(path, pack(changed))
    say(
        f"{bundle.manifest.name} {bundle.manifest.version} reads with {eye.name} now; digest {changed.digest}"
    )
    if bundle.signature is not None:
        say("its signature is gone, for the manifest has changed; smartcar model sign makes a new one")
    return 0


def verify(path: Path, trust: Sequence[str], *, json: bool) -> int:
    """Check all that a car checks. Raises Refusal, the first that it finds."""
    bundle = read_bundle(path)
    keys = [PublicKey.parse(text) if " " in text.strip() else PublicKey.load(text) for text in trust]
    key = verify_signature(bundle, keys)
    proof = prove(bundle)
    if bundle.manifest.has_expired(datetime.now(UTC)):
        raise Refusal(ErrorCode.EXPIRED, f"{bundle.manifest.name} {bundle.manifest.version} has expired.")
    _tell(bundle, proof, path, json=json, signer=key)
    return 0


def generate_key(path: Path, comment: str) -> int:
    """Write a new private key, print its public one."""
    key = SigningKey.generate()
    try:
        key.save(path)
    except FileExistsError:
        raise Problem(f"{path} is there already; a key is never overwritten.") from None
    except OSError as error:
        raise Problem(f"{path} can't be written: {error.strerror}.") from None
    say(replace(key.public, comment=comment).text)
    return 0


def show_key(path: Path, comment: str) -> int:
    """Print the public key of a private one."""
    say(replace(SigningKey.load(path).public, comment=comment).text)
    return 0


def _described(bundle: Bundle, description: Description, proof: Proof) -> Bundle:
    floor = description.accuracy
    if floor is None:
        floor = max(0.0, math.floor((proof.accuracy - MARGIN) * 100) / 100)
    expires = description.expires
    content = bundle.manifest.model_dump(mode="json", exclude_none=True) | {
        "name": description.name,
        "version": description.version,
        "release": description.release,
        "target": description.target,
        "issued": datetime.now(UTC).isoformat(timespec="seconds"),
        "expires": expires.replace(tzinfo=UTC).isoformat() if expires is not None else None,
        "golden": GoldenTerms(
            accuracy=floor, latency_ms=LATENCY_MS, source=bundle.manifest.golden.source
        ).model_dump(mode="json"),
        "imported": None,
    }
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Problem(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}.") from None
    raw = manifest.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"
    return Bundle.from_files({**bundle.files(), MANIFEST_FILE: raw}, bundle.folder)


def _write(bundle: Bundle, output: Path) -> None:
    if output.suffix == ".zip":
        write_output(output, pack(bundle))
        return
    try:
        output.mkdir(parents=True)
    except OSError as error:
        raise Problem(f"{output} can't be made: {error.strerror}.") from None
    for name, content in bundle.files().items():
        write_output(output / name, content)


def _tell(bundle: Bundle, proof: Proof, where: Path, *, json: bool, signer: PublicKey | None = None) -> None:
    manifest = bundle.manifest
    if json:
        print_json(
            as_dict(
                manifest,
                path=str(where),
                digest=bundle.digest,
                signed_by=signer.fingerprint if signer is not None else None,
                accuracy=proof.accuracy,
                latency_ms=proof.latency_ms,
                peculiarities=list(manifest.peculiarities),
            )
        )
        return
    say(f"{where}: {manifest.name} {manifest.version}, release {manifest.release}, for {manifest.target}")
    say(f"digest {bundle.digest}")
    say(f"{proof.accuracy:.1%} of {proof.digits} golden digits, five in {proof.latency_ms:.2f} ms")
    if manifest.peculiarities:
        say(f"takes {', '.join(manifest.peculiarities)}")
    if signer is not None:
        say(f"signed by {signer.fingerprint} {signer.comment}".rstrip())
    elif bundle.signature is None:
        say("not signed; smartcar model sign does it")
