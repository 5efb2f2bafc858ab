"""What is no bundle is refused, with the reason."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from messages.errors import ErrorCode
from models.bundle.bundle import Bundle, BundleError
from models.bundle.manifest import MAX_FILE_BYTES, MAX_MANIFEST_BYTES
from tests.models.making import FACTORY, copy_of_factory, rewritten


def refusal(folder: Path) -> ErrorCode:
    with pytest.raises(BundleError) as refused:
        Bundle.load(folder).golden()
    assert str(folder) in str(refused.value), "the sentence names the place"
    return refused.value.reason


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    return file.getvalue()


def test_the_digest_is_that_of_the_manifests_bytes() -> None:
    assert Bundle.load(FACTORY).digest == hashlib.sha256((FACTORY / "manifest.json").read_bytes()).hexdigest()


def test_what_was_checked_is_what_is_held(tmp_path: Path) -> None:
    bundle = Bundle.load(copy_of_factory(tmp_path / "b"))
    held = bundle.model
    bundle.model_path.write_bytes(b"changed after it was checked")
    assert bundle.model == held
    assert hashlib.sha256(held).hexdigest() == bundle.manifest.file("model.tflite").sha256


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "golden.npz"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    folder = copy_of_factory(tmp_path / "b")
    (folder / name).unlink()
    assert refusal(folder) == "missing"


def test_no_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == "missing"


@pytest.mark.parametrize("name", ["model.tflite", "golden.npz"])
def test_a_flipped_bit(tmp_path: Path, name: str) -> None:
    folder = copy_of_factory(tmp_path / "b")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert refusal(folder) == "wrong_hash"


@pytest.mark.parametrize("name", ["model.tflite", "golden.npz"])
def test_a_file_cut_off(tmp_path: Path, name: str) -> None:
    folder = copy_of_factory(tmp_path / "b")
    os.truncate(folder / name, 1000)
    assert refusal(folder) == "wrong_size"


@pytest.mark.parametrize(("name", "limit"), [*MAX_FILE_BYTES.items(), ("manifest.json", MAX_MANIFEST_BYTES)])
def test_a_file_too_large(tmp_path: Path, name: str, limit: int) -> None:
    folder = copy_of_factory(tmp_path / "b")
    os.truncate(folder / name, limit + 1)  # a hole: takes no room on disk
    assert refusal(folder) == "too_large"


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "golden.npz"])
def test_a_link_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    folder = copy_of_factory(tmp_path / "b")
    (folder / name).unlink()
    (folder / name).symlink_to(FACTORY / name)
    assert refusal(folder) == "not_a_file"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_pipe_or_folder_in_place_of_a_file_does_not_hang(tmp_path: Path, make: Any) -> None:
    folder = copy_of_factory(tmp_path / "b")
    (folder / "model.tflite").unlink()
    make(folder / "model.tflite")
    assert refusal(folder) == "not_a_file"


def without(key: str) -> Any:
    return lambda manifest: manifest.pop(key)


def with_value(key: str, value: Any) -> Any:
    return lambda manifest: manifest.update({key: value})


@pytest.mark.parametrize(
    "change",
    [
        without("release"),
        without("labels"),
        with_value("version", "1.0"),
        with_value("version", "1.0.0\n"),
        with_value("name", "../elsewhere"),
        with_value("issued", "2026-01-01T00:00:00"),
        with_value("labels", ["0", "0"]),
        with_value("files", []),
        with_value("format", 2),
        lambda manifest: manifest["files"][0].update(name="../../etc/passwd"),
        lambda manifest: manifest["files"].append(manifest["files"][0]),
        lambda manifest: manifest["input"].update(shape=[28, 29, 1]),
        lambda manifest: manifest["calibration"].update(temperature=0),
        lambda manifest: manifest["golden"].update(accuracy=1.5),
    ],
)
def test_a_manifest_that_is_not_valid(tmp_path: Path, change: Any) -> None:
    assert refusal(rewritten(tmp_path / "b", change)) == "bad_manifest"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": NaN}', "\x00", "[" * 50_000])
def test_a_manifest_that_is_no_json_object(tmp_path: Path, text: str) -> None:
    folder = copy_of_factory(tmp_path / "b")
    (folder / "manifest.json").write_text(text)
    assert refusal(folder) == "bad_manifest"


def test_what_a_newer_manifest_adds_is_ignored(tmp_path: Path) -> None:
    folder = rewritten(tmp_path / "b", with_value("mood", "cheerful"))
    assert Bundle.load(folder).manifest.name == json.loads((folder / "manifest.json").read_text())["name"]


CROPS = np.zeros((3, 28, 28), np.uint8)


@pytest.mark.parametrize(
    "golden",
    [
        b"no archive",
        packed(crops=CROPS),
        packed(crops=CROPS, labels=np.array(["1", "2"])),
        packed(crops=CROPS, labels=np.array(["1", "2", "x"])),
        packed(crops=CROPS[:0], labels=np.array([], dtype=str)),
        packed(crops=CROPS.astype(float), labels=np.array(["1", "2", "3"])),
        packed(crops=np.zeros((301, 28, 28), np.uint8), labels=np.array(["1"] * 301)),
        packed(crops=np.zeros((5 << 20,), np.uint8), labels=np.array(["1"])),
        packed(crops=CROPS, labels=np.array([print, print, print], dtype=object)),
    ],
    ids=["junk", "no labels", "unequal", "strange label", "none", "float", "too many", "bomb", "pickle"],
)
def test_golden_digits_that_are_none(tmp_path: Path, golden: bytes) -> None:
    assert refusal(rewritten(tmp_path / "b", files={"golden.npz": golden})) == "bad_golden"


def test_golden_digits_that_claim_terabytes(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 30, 28, 28)}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("crops.npy", header.getvalue() + bytes(100))
        archive.writestr("labels.npy", header.getvalue() + bytes(100))
    assert refusal(rewritten(tmp_path / "b", files={"golden.npz": file.getvalue()})) == "bad_golden"
