"""A bundle's zip: the same bundle, the same bytes, and back again. What is hostile is in test_hostile.py."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import archive, zipped
from models.bundle.bundle import Bundle
from models.bundle.digits import DIGITS, golden_digits
from models.bundle.keys import SigningKey
from models.refusal import Refusal
from tests.models.making import FACTORY, copy_of_factory, sign_folder

NAMES = ("a", "b.json", "c.bin")


def test_there_and_back(tmp_path: Path) -> None:
    bundle = sign_folder(copy_of_factory(tmp_path / "b"), SigningKey.generate())
    path = tmp_path / "digits.zip"
    path.write_bytes(archive.pack(bundle))
    read = archive.read_archive(path)
    assert read.files() == bundle.files()
    assert read.digest == bundle.digest
    assert archive.pack(read) == path.read_bytes()


def test_a_zip_made_by_hand_is_as_good() -> None:
    """Packed by another program, compressed, in another order."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name in ("model.tflite", "manifest.json", "eye.tflite", "golden.npz"):
            made.write(FACTORY / name, name)
    assert archive.unpack(file.getvalue()).digest == Bundle.load(FACTORY).digest


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=200)))
def test_any_files_come_back_and_give_the_same_bytes(files: dict[str, bytes]) -> None:
    packed = zipped.write(files)
    assert zipped.read(packed, dict.fromkeys(NAMES, 200)) == files
    assert zipped.write(dict(reversed(files.items()))) == packed


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.binary(max_size=50), min_size=1))
def test_only_expected_names_and_sizes_come_out(files: dict[str, bytes]) -> None:
    packed = zipped.write({f"x{name}": content for name, content in files.items()})
    with pytest.raises(Refusal):
        zipped.read(packed, dict.fromkeys(NAMES, 10))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_zip_are_refused(content: bytes) -> None:
    with pytest.raises(Refusal):
        zipped.read(b"PK\x03\x04" + content, {})


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_a_zip_with_a_long_directory_is_refused_before_it_is_read(
    zip64: bool, comment: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading 800,000 entries takes seconds and hundreds of megabytes, whatever they are called."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(70_000 if zip64 else 65):
            made.writestr(f"{number}", b"")
        made.comment = comment

    def read_at_all(*_: object) -> None:
        raise AssertionError("the directory is read")

    monkeypatch.setattr(zipfile, "ZipFile", read_at_all)
    with pytest.raises(Refusal) as refused:
        zipped.read(file.getvalue(), dict.fromkeys(NAMES, 10))
    assert refused.value.reason == "unsafe_archive"


def test_golden_digits_in_a_zip_with_a_long_directory_are_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(65):
            made.writestr(f"{number}", b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(Refusal) as refused:
        golden_digits(file.getvalue(), DIGITS)
    assert refused.value.reason == "bad_golden"
