"""A bundle: a folder with a model, what it says of itself, and digits to test it on.

Loading proves that the files are those the manifest names, byte for byte, and opens none of them in a way
that can run code. Whether the manifest is to be trusted is another question than whether it is kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from models.bundle.digits import GOLDEN_FILE, Golden, golden_digits
from models.bundle.manifest import (
    EYE_FILE,
    MANIFEST_FILE,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    MODEL_FILE,
    OPTIONAL_FILES,
    SIGNATURE_FILE,
    Manifest,
)
from models.refusal import BundleError

__all__ = ["FILE_LIMITS", "Bundle", "BundleError", "Golden", "parse_manifest", "read_regular"]

FILE_LIMITS = {
    MANIFEST_FILE: MAX_MANIFEST_BYTES,
    **MAX_FILE_BYTES,
    SIGNATURE_FILE: MAX_SIGNATURE_BYTES,
}
"""The files of a bundle, and how large each may be, in bytes."""
_MAY_LACK = {*OPTIONAL_FILES, SIGNATURE_FILE}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were all read and found to be those of its manifest."""

    folder: Path
    """Where the files were read."""
    digest: str
    """SHA-256 of the exact bytes of manifest.json, in hex; it names the whole bundle."""
    manifest: Manifest
    raw_manifest: bytes = field(repr=False)
    """manifest.json as it was: what a signature covers."""
    model: bytes = field(repr=False)
    """The model file's bytes as they were checked: what is run is what was hashed."""
    golden_bytes: bytes = field(repr=False)
    eye: bytes | None = field(default=None, repr=False)
    """The eye that the bundle brings (`models.eye`); None where it reads with the shipped one."""
    signature: bytes | None = field(default=None, repr=False)
    """manifest.sig, not yet checked; None where there is none."""

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Bundle:
        """Read and check the bundle in `folder`. Raises BundleError."""
        folder = Path(folder)
        if not folder.is_dir():
            raise BundleError("missing", f"There is no bundle at {folder}: it is no folder.")
        files = {
            name: read_regular(folder / name, limit)
            for name, limit in FILE_LIMITS.items()
            if name not in _MAY_LACK or os.path.lexists(folder / name)
        }
        return cls.from_files(files, folder)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], folder: Path) -> Bundle:
        """The bundle of these files by name; `folder` is named in what goes wrong. Raises BundleError.

        A file that the manifest doesn't name is left out: no hash and no signature covers it.
        """
        raw = _present(files, MANIFEST_FILE, folder)
        manifest = parse_manifest(raw, folder)
        held: dict[str, bytes] = {entry.name: _present(files, entry.name, folder) for entry in manifest.files}
        for name, content in held.items():
            _check(folder, manifest, name, content)
        return cls(
            folder=folder,
            digest=hashlib.sha256(raw).hexdigest(),
            manifest=manifest,
            raw_manifest=raw,
            model=held[MODEL_FILE],
            golden_bytes=held[GOLDEN_FILE],
            eye=held.get(EYE_FILE),
            signature=files.get(SIGNATURE_FILE),
        )

    def files(self) -> dict[str, bytes]:
        """The bundle's files by name, as they were checked."""
        files = {MANIFEST_FILE: self.raw_manifest, MODEL_FILE: self.model, GOLDEN_FILE: self.golden_bytes}
        if self.eye is not None:
            files[EYE_FILE] = self.eye
        if self.signature is not None:
            files[SIGNATURE_FILE] = self.signature
        return files

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(content) for content in self.files().values())

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL_FILE

    def golden(self) -> Golden:
        """The golden digits: crops (n, 28, 28) uint8, n ≥ 1, and a label of the manifest for each.

        Raises BundleError where the file holds anything else.
        """
        return golden_digits(self.golden_bytes, self.manifest.labels, self.folder / GOLDEN_FILE)


def parse_manifest(raw: bytes, where: str | os.PathLike[str]) -> Manifest:
    """The manifest in these bytes; `where` they stood is named in what goes wrong. Raises BundleError."""
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        said = f"{field}: {first['msg']}" if field else first["msg"]
        raise BundleError("bad_manifest", f"The manifest in {where} is not valid: {said}.") from None


def _present(files: Mapping[str, bytes], name: str, folder: Path) -> bytes:
    if name not in files:
        raise BundleError("missing", f"{folder / name} is missing: the bundle is not whole.")
    return files[name]


def _check(folder: Path, manifest: Manifest, name: str, content: bytes) -> None:
    entry = manifest.file(name)
    if len(content) != entry.size:
        raise BundleError(
            "wrong_size",
            f"{folder / name} has {len(content)} bytes where its manifest says {entry.size}: "
            "it was cut off or replaced; copy the bundle again.",
        )
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(
            "wrong_hash",
            f"{folder / name} is not the file its manifest names (SHA-256 differs): "
            "it was damaged or replaced; copy the bundle again.",
        )


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; no link is followed, no pipe waited on.

    Raises BundleError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BundleError("missing", f"{path} is missing: the bundle is not whole.") from None
    except OSError as error:
        if path.is_symlink():
            raise BundleError("not_a_file", f"{path} is a link; a bundle holds its own files.") from None
        raise BundleError("unreadable", f"{path} can't be read: {error.strerror}.") from None
    if not stat.S_ISREG((status := os.fstat(descriptor)).st_mode):
        os.close(descriptor)
        raise BundleError("not_a_file", f"{path} is no regular file.")
    with open(descriptor, "rb") as file:
        if status.st_size > limit:
            raise BundleError("too_large", f"{path} has {status.st_size} bytes; {limit} are allowed.")
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise BundleError("unreadable", f"{path} can't be read: {error.strerror}.") from None
    if len(content) > limit:
        raise BundleError("too_large", f"{path} has more than {limit} bytes.")
    return content
