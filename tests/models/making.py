"""Bundles for tests: the shipped one, changed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import models
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.manifest import SIGNATURE_FILE

FACTORY = Path(models.__file__).parent / "factory"


def copy_of_factory(folder: Path) -> Path:
    """A writable copy of the shipped bundle."""
    return Path(shutil.copytree(FACTORY, folder))


def rewritten(
    folder: Path,
    change: Callable[[dict[str, Any]], None] = lambda manifest: None,
    files: dict[str, bytes] | None = None,
) -> Path:
    """A copy of the shipped bundle with another manifest or other files, its sizes and hashes true."""
    copy_of_factory(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
        entry = next(entry for entry in manifest["files"] if entry["name"] == name)
        entry.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def sign_folder(folder: Path, key: SigningKey) -> Bundle:
    """Put manifest.sig beside the manifest of the bundle in `folder`, and give the bundle as it is then."""
    (folder / SIGNATURE_FILE).write_bytes(key.sign(Bundle.load(folder).raw_manifest))
    return Bundle.load(folder)


def labelled(folder: Path, label: Callable[[np.ndarray], np.ndarray]) -> Bundle:
    """A copy of the shipped bundle, its golden digits labelled by `label`, of crops (n, 28, 28): as a network
    reads them that is to be right about all."""
    crops = Bundle.load(FACTORY).golden().crops
    packed = io.BytesIO()
    np.savez_compressed(packed, crops=crops, labels=label(crops).astype(str))
    return Bundle.load(rewritten(folder, files={"golden.npz": packed.getvalue()}))
