"""Ed25519 keys, and signatures over the exact bytes of manifest.json (RFC 8032).

A car trusts two keys at once, so that one can be replaced by the other. A private key stays with its owner,
in a file only they can read. `manifest.sig` is text, a line a signature: kind, fingerprint, signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from messages.errors import ErrorCode
from models.bundle.bundle import Bundle, read_regular
from models.refusal import Refusal

KIND = "smartcar-ed25519"
MAX_TRUSTED = 2
_MAX_KEY_BYTES = 4 << 10
_MAX_SIGNATURES = 4


@dataclass(frozen=True)
class PublicKey:
    """What a car needs to check a signature, and may be known to all."""

    raw: bytes
    """32 bytes."""
    comment: str = ""
    """Whose it is, in their words."""

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key in one line of text as `text` gives it. Raises Refusal."""
        kind, _, rest = text.strip().partition(" ")
        encoded, _, comment = rest.partition(" ")
        raw = _decoded(encoded)
        if kind != KIND or len(raw) != 32 or "\n" in comment:
            raise Refusal(
                ErrorCode.BAD_KEY, f"{text[:40]!r} is no public key: a line that starts with {KIND} is due."
            )
        return cls(raw, comment.strip())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PublicKey:
        """The key in a text file. Raises Refusal."""
        try:
            return cls.parse(read_regular(Path(path), _MAX_KEY_BYTES).decode())
        except UnicodeDecodeError:
            raise Refusal(ErrorCode.BAD_KEY, f"{path} is no public key.") from None

    @property
    def text(self) -> str:
        """One line: kind, key in base 64, comment."""
        return f"{KIND} {base64.b64encode(self.raw).decode()} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """Names the key in short: SHA-256 of its 32 bytes."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.raw).digest()).decode().rstrip("=")

    def signed(self, content: bytes, signature: bytes) -> bool:
        """Whether the owner of this key signed the content."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key. Its file is PKCS #8 in PEM, unencrypted, readable by its owner alone."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SigningKey:
        """The key in a file. Raises Refusal, also where others than its owner may read it."""
        path = Path(path)
        content = read_regular(path, _MAX_KEY_BYTES)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Refusal(
                ErrorCode.BAD_KEY,
                f"Others may read {path}: a private key is its owner's. `chmod 600 {path}`.",
            )
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Refusal(ErrorCode.BAD_KEY, f"{path} is no private key that can be read.") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Refusal(ErrorCode.BAD_KEY, f"{path} holds a key of another kind than Ed25519.")
        return cls(key)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a new file, mode 0600. Raises FileExistsError: a key is never overwritten."""
        content = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    @property
    def public(self) -> PublicKey:
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return PublicKey(raw)

    def sign(self, manifest: bytes) -> bytes:
        """The content of manifest.sig for these bytes of manifest.json."""
        signature = base64.b64encode(self._key.sign(manifest)).decode()
        return f"{KIND} {self.public.fingerprint} {signature}\n".encode()


def verify(bundle: Bundle, trusted: Sequence[PublicKey]) -> PublicKey:
    """The trusted key that signed the bundle. Raises Refusal: unsigned, unknown_key, bad_signature."""
    title = f"{bundle.manifest.name} {bundle.manifest.version}"
    return verify_manifest(bundle.raw_manifest, bundle.signature, title, trusted)


def verify_manifest(
    raw: bytes, signature: bytes | None, title: str, trusted: Sequence[PublicKey]
) -> PublicKey:
    """The same of the exact bytes of a manifest and the content of its manifest.sig."""
    if signature is None:
        raise Refusal(ErrorCode.UNSIGNED, f"{title} has no signature; sign it with smartcar model sign.")
    known = {key.fingerprint: key for key in trusted[:MAX_TRUSTED]}
    signers = _signatures(signature)
    for fingerprint, signed in signers:
        if fingerprint in known:
            if known[fingerprint].signed(raw, signed):
                return known[fingerprint]
            raise Refusal(
                ErrorCode.BAD_SIGNATURE,
                f"The signature of {title} doesn't fit its manifest: it was changed after it was signed.",
            )
    named = ", ".join(fingerprint for fingerprint, _ in signers)
    raise Refusal(ErrorCode.UNKNOWN_KEY, f"{title} is signed by {named}, a key that this car doesn't trust.")


def _signatures(content: bytes) -> list[tuple[str, bytes]]:
    """Fingerprint and signature of each line."""
    lines = content.decode("ascii", "replace").splitlines()
    found = [line.split(" ") for line in lines if line]
    if not 1 <= len(found) <= _MAX_SIGNATURES or any(len(each) != 3 or each[0] != KIND for each in found):
        raise Refusal(ErrorCode.BAD_SIGNATURE, "manifest.sig is no signature; sign the bundle anew.")
    return [(fingerprint[:80], _decoded(signature)) for _, fingerprint, signature in found]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
