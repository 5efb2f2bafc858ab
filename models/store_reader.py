"""What a store of models holds: its bundles, and the links that name the active, previous and shipped one.

sha256-<digest>/            a bundle, checked byte for byte before it came here
active, previous, factory   links to such folders
outgoing                    a link to the model that was active, while another one becomes it
damaged-<digest>/           a bundle that was read and found wrong, kept aside
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import models
from messages.errors import ErrorCode
from models.bundle.bundle import Bundle, BundleError
from models.bundle.manifest import Manifest
from models.refusal import Refusal

FACTORY_FOLDER = Path(models.__file__).parent / "factory"
PREFIX = "sha256-"

State = Literal["active", "previous", "factory", "kept", "damaged", "unreadable"]


def bundle_folder(root: Path, digest: str) -> Path:
    """Where a store at `root` keeps the bundle of that digest; for those who only read it."""
    return root / f"{PREFIX}{digest}"


@dataclass(frozen=True)
class StoreEntry:
    """A bundle in the store."""

    digest: str
    state: State
    manifest: Manifest | None
    """None where the bundle is damaged or can't be read; `problem` says why."""
    signed: bool
    """Whether it came with a signature; whose is another question."""
    size: int
    added: datetime
    problem: str = ""


class StoreReader:
    """The store at `root` as it lies on the disk; the shipped bundle is there in any case."""

    def __init__(self, root: Path, shipped: Bundle) -> None:
        self.root, self._shipped = root, shipped
        self._left_out: dict[str, Refusal] = {}
        """By digest: why a bundle that is there is not used."""

    @property
    def active(self) -> str:
        """The digest of the model the car reads with."""
        return self._target("active") or self.factory

    @property
    def previous(self) -> str | None:
        """The digest that a rollback goes back to."""
        outgoing = self._target("outgoing")
        return outgoing if outgoing not in (None, self._link("active")) else self._target("previous")

    @property
    def factory(self) -> str:
        """The digest of the shipped model."""
        return self._target("factory") or self._shipped.digest

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all bundles that can be used, in no order."""
        found = {folder.name.removeprefix(PREFIX) for folder in self._folders()} - self._left_out.keys()
        return tuple(found | {self._shipped.digest})

    def load(self, digest: str) -> Bundle:
        """The bundle of that digest, every byte checked. Raises Refusal."""
        if self._has(digest):
            return Bundle.load(self._folder(digest))
        if digest == self._shipped.digest:
            return self._shipped
        raise Refusal(ErrorCode.UNKNOWN_MODEL, f"There is no model {digest[:12]} in the store {self.root}.")

    def entries(self) -> tuple[StoreEntry, ...]:
        """All bundles, the newest first, those too that can't be used."""
        found = [self._entry(digest) for digest in {*self.digests, *self._left_out}]
        return tuple(sorted(found, key=lambda entry: (entry.added, entry.digest), reverse=True))

    def newest_releases(self) -> dict[str, int]:
        """By name: the newest release of the bundles that are there."""
        newest: dict[str, int] = {}
        for entry in self.entries():
            if entry.manifest is not None:
                name = entry.manifest.name
                newest[name] = max(entry.manifest.release, newest.get(name, 0))
        return newest

    def _flaw(self, folder: Path) -> Refusal | None:
        """What is wrong with the bundle in a folder of the store."""
        try:
            if self._name(Bundle.load(folder).digest) == folder.name:
                return None
            return BundleError("wrong_hash", f"{folder} holds another bundle than its name says.")
        except BundleError as error:
            if error.reason != ErrorCode.UNREADABLE:
                return error
            remedy = "Give it to the user that smartcar runs as, or see what dmesg says."
            return BundleError(ErrorCode.UNREADABLE, error.sentence, remedy)

    def _link(self, name: str) -> str | None:
        """The digest that a link names, whatever became of its bundle."""
        try:
            target = os.readlink(self.root / name)
        except OSError:
            return None
        digest = target.removeprefix(PREFIX)
        return digest if target.startswith(PREFIX) and digest.isalnum() else None

    def _target(self, link: str) -> str | None:
        """The digest that a link names, where its bundle can be used."""
        digest = self._link(link)
        return digest if digest is not None and self._has(digest) else None

    def _has(self, digest: str) -> bool:
        return digest.isalnum() and digest not in self._left_out and os.path.isdir(self._folder(digest))

    def _name(self, digest: str) -> str:
        return f"{PREFIX}{digest}"

    def _folder(self, digest: str) -> Path:
        return bundle_folder(self.root, digest)

    def _folders(self) -> list[Path]:
        try:
            return [self.root / name for name in os.listdir(self.root) if name.startswith(PREFIX)]
        except OSError:
            return []  # there is none yet, or we may not look into it

    def _state(self, digest: str) -> State:
        linked: dict[str | None, State] = {
            self.factory: "factory",
            self.previous: "previous",
            self.active: "active",
        }
        return linked.get(digest, "kept")

    def _entry(self, digest: str) -> StoreEntry:
        folder = self._folder(digest)
        try:
            if digest in self._left_out:
                raise self._left_out[digest]
            bundle = self.load(digest)
        except Refusal as flaw:
            state: State = "unreadable" if flaw.reason == ErrorCode.UNREADABLE else "damaged"
            return StoreEntry(digest, state, None, False, 0, _added(folder), str(flaw))
        signed = bundle.signature is not None
        return StoreEntry(
            digest, self._state(digest), bundle.manifest, signed, bundle.size, _added(bundle.folder)
        )


def _added(folder: Path) -> datetime:
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)
