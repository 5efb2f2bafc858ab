"""Signatures: whose they are, over exact bytes, and what a key file must be."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.errors import ErrorCode
from models.bundle.bundle import Bundle
from models.bundle.keys import PublicKey, SigningKey, verify
from models.refusal import Refusal
from tests.models.making import copy_of_factory, sign_folder

OURS, THEIRS, OLD = (SigningKey.generate() for _ in range(3))


def refusal(act: Callable[[], Any]) -> ErrorCode:
    with pytest.raises(Refusal) as refused:
        act()
    return refused.value.reason


@pytest.fixture
def signed(tmp_path: Path) -> Bundle:
    return sign_folder(copy_of_factory(tmp_path / "b"), OURS)


def test_a_signed_bundle_is_its_signers(signed: Bundle) -> None:
    assert verify(signed, [OLD.public, OURS.public]) == OURS.public


def test_a_key_can_be_replaced_by_a_second_one(signed: Bundle) -> None:
    """The car trusts two at once, and a bundle may carry the signatures of both."""
    both = OLD.sign(signed.raw_manifest) + OURS.sign(signed.raw_manifest)
    (signed.folder / "manifest.sig").write_bytes(both)
    bundle = Bundle.load(signed.folder)
    assert verify(bundle, [OLD.public]) == OLD.public
    assert verify(bundle, [OURS.public]) == OURS.public


def test_a_third_key_is_not_trusted(signed: Bundle) -> None:
    assert refusal(lambda: verify(signed, [OLD.public, THEIRS.public, OURS.public])) == "unknown_key"


def test_without_a_signature(tmp_path: Path) -> None:
    assert refusal(lambda: verify(Bundle.load(copy_of_factory(tmp_path / "b")), [OURS.public])) == "unsigned"


def test_every_byte_of_the_manifest_counts(signed: Bundle) -> None:
    """A space more means the same JSON and other bytes."""
    path = signed.folder / "manifest.json"
    path.write_bytes(path.read_bytes() + b" ")
    assert refusal(lambda: verify(Bundle.load(signed.folder), [OURS.public])) == "bad_signature"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00\xff" * 40,
        b"smartcar-ed25519 one two three\n",
        b"smartcar-ed25519 " + OURS.public.fingerprint.encode() + b" AAAA\n",
        b"smartcar-ed25519 " + OURS.public.fingerprint.encode() + b" not*base64\n",
        OURS.sign(b"another manifest"),
        OLD.sign(b"x") * 5,
    ],
    ids=["nothing", "bytes", "other words", "too short", "not base64", "of another manifest", "too many"],
)
def test_what_is_no_signature(signed: Bundle, text: bytes) -> None:
    (signed.folder / "manifest.sig").write_bytes(text)
    assert refusal(lambda: verify(Bundle.load(signed.folder), [OURS.public])) == "bad_signature"


def test_a_signature_as_large_as_a_film(signed: Bundle) -> None:
    (signed.folder / "manifest.sig").write_bytes(bytes(1 << 20))
    assert refusal(lambda: Bundle.load(signed.folder)) == "too_large"


# --- key files


def test_a_private_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    OURS.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).public == OURS.public
    with pytest.raises(FileExistsError):
        THEIRS.save(path)
    assert SigningKey.load(path).public == OURS.public


def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    OURS.save(path)
    path.chmod(0o640)
    assert refusal(lambda: SigningKey.load(path)) == "bad_key"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\x00" * 100])
def test_what_is_no_private_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    assert refusal(lambda: SigningKey.load(path)) == "bad_key"


def test_a_public_key_is_one_line_of_text(tmp_path: Path) -> None:
    key = PublicKey(OURS.public.raw, "the lab's key")
    path = tmp_path / "lab.pub"
    path.write_text(key.text + "\n")
    assert PublicKey.load(path) == key
    assert key.fingerprint == OURS.public.fingerprint
    assert key.fingerprint.startswith("SHA256:")


@given(st.text(max_size=80))
def test_any_other_text_is_no_public_key(text: str) -> None:
    assert refusal(lambda: PublicKey.parse(text)) == "bad_key"
