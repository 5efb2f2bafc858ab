"""The car's models: a read-only folder each, and links that say which is active, previous and the factory's.

    sha256-<digest>/   a bundle, checked byte for byte before it came here
    active, previous, factory   links to such folders
    next               a link while the active model changes: what a crash leaves is finished at opening

A folder is made beside its place and renamed into it; a link is made beside its place and renamed over it. So
at every instant `active` is one whole bundle. One process owns a store; others read `active` by Bundle.load.

On a disk that takes nothing a store can be read: what it holds, and the shipped bundle in any case.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import models
from messages.disk import why_not
from models import durable
from models.bundle.bundle import Bundle, BundleError
from models.bundle.manifest import Manifest
from models.refusal import Reason, Refusal

FACTORY_FOLDER = Path(models.__file__).parent / "factory"
SPARE_BYTES = 16 << 20
"""What stays free on the disk beside a new bundle."""
_PREFIX = "sha256-"
_HALF_MADE = (".adding-", ".removing-", ".work-")

State = Literal["active", "previous", "factory", "kept"]

log = logging.getLogger(__name__)


def bundle_folder(root: Path, digest: str) -> Path:
    """Where a store at `root` keeps the bundle of that digest; for those who only read it."""
    return root / f"{_PREFIX}{digest}"


@dataclass(frozen=True)
class Recovery:
    """What opening a store had to put right."""

    swept: tuple[str, ...] = ()
    """Names of what was half made or damaged, and is gone."""
    active_lost: str | None = None
    """The digest that was active and could not be loaded; another one is now."""
    former_factory: str | None = None
    """The digest of the shipped model before this one."""


@dataclass(frozen=True)
class Entry:
    """A bundle in the store."""

    digest: str
    manifest: Manifest
    signed: bool
    """Whether it came with a signature; whose is another question."""
    size: int
    state: State
    folder: Path
    added: datetime


class Store:
    """The store at `root`, made where there is none. Not for use by two threads at once.

    `problem` says why nothing can be changed; empty where it can.
    """

    def __init__(self, root: str | os.PathLike[str], factory: Path = FACTORY_FOLDER) -> None:
        """Open and recover, as far as the disk lets it. Raises Refusal: store_locked."""
        self.root = Path(root)
        self.recovery = Recovery()
        self.problem = ""
        self._shipped = Bundle.load(factory)
        self._unsound: frozenset[str] = frozenset()
        """Digests of bundles that don't load, while nothing can be swept."""
        self._lock = -1
        self._open()
        if self.problem:
            log.error("the model store %s can't be changed: %s", self.root, self.problem)
            whole = {folder for folder in self._folders() if self._is_whole(folder)}
            unsound = {*self._folders()} - whole
            self._unsound = frozenset(folder.name.removeprefix(_PREFIX) for folder in unsound)

    def try_again(self) -> None:
        """Open and recover, where the disk hasn't let it so far."""
        if self.problem:
            try:
                self._open()
            except Refusal as locked:
                self.problem = str(locked)

    def _open(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.root)
        except OSError as error:
            self.problem = why_not(self.root / ".lock", error)
            return
        before, self.problem, self._unsound = self._unsound, "", frozenset()
        try:
            self.recovery = self._recover(self._shipped)
        except (Refusal, OSError) as error:
            self.close()
            self._unsound = before
            self.problem = why_not(self.root / "active", error)
            if isinstance(error, Refusal):
                sentence = str(error).removesuffix(".")
                self.problem = sentence[0].lower() + sentence[1:]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # --- what is there

    @property
    def active(self) -> str:
        """The digest of the model the car reads with."""
        return self._target("active") or self.factory

    @property
    def previous(self) -> str | None:
        """The digest that a rollback goes back to."""
        return self._target("previous")

    @property
    def factory(self) -> str:
        """The digest of the shipped model."""
        return self._target("factory") or self._shipped.digest

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all bundles, in no order."""
        found = {folder.name.removeprefix(_PREFIX) for folder in self._folders()} - self._unsound
        return tuple(found | {self._shipped.digest})

    @property
    def active_folder(self) -> Path:
        """The folder of the active bundle."""
        return self._folder(self.active)

    def load(self, digest: str) -> Bundle:
        """The bundle of that digest, every byte checked. Raises Refusal."""
        if self._has(digest):
            return Bundle.load(self._folder(digest))
        if digest == self._shipped.digest:
            return self._shipped
        raise Refusal(Reason.UNKNOWN_MODEL, f"There is no model {digest[:12]} in the store {self.root}.")

    def entries(self) -> tuple[Entry, ...]:
        """All bundles, the newest first."""
        found = [self._entry(self.load(digest)) for digest in self.digests]
        return tuple(sorted(found, key=lambda entry: (entry.added, entry.digest), reverse=True))

    # --- changes

    def add(self, bundle: Bundle) -> str:
        """Keep the bundle, as it was checked; its digest. Nothing changes where it is there already.

        Raises Refusal: no_space, store_damaged.
        """
        self._must_be_open()
        if self._has(bundle.digest) and self._is_whole(self._folder(bundle.digest)):
            return bundle.digest
        free = shutil.disk_usage(self.root).free
        if free < bundle.size + SPARE_BYTES:
            raise _no_space(self.root, bundle.size + SPARE_BYTES, free)
        half = self.root / f".adding-{secrets.token_hex(8)}"
        with _said(self.root):
            try:
                self._put(bundle, half)
            except BaseException:
                durable.remove_tree(half)
                raise
        return bundle.digest

    def _put(self, bundle: Bundle, half: Path) -> None:
        durable.make_folder(half)
        for name, content in bundle.files().items():
            durable.write_file(half / name, content)
        durable.sync_folder(half)
        half.chmod(0o555)
        if self._has(bundle.digest):  # damaged
            self._discard(self._folder(bundle.digest))
        durable.rename(half, self._folder(bundle.digest))

    def activate(self, digest: str) -> None:
        """Make it the active model; the one that was becomes the previous.

        Raises Refusal: unknown_model, or why its bundle can't be loaded any more.
        """
        if digest == self.active:
            return
        self._must_be_open()
        self.load(digest)
        with _said(self.root):
            durable.replace_link(self.root / "next", self._name(digest))
            self._finish_activation()

    def rollback(self) -> str:
        """Swap the active model and the previous; the digest active now. Raises Refusal: no_previous."""
        previous = self.previous
        if previous is None:
            raise Refusal(Reason.NO_PREVIOUS, "There is no earlier model to go back to.")
        self.activate(previous)
        return previous

    def remove(self, digest: str) -> None:
        """Take a bundle away. Raises Refusal: unknown_model, in_use."""
        self._must_be_open()
        if not self._has(digest):
            raise Refusal(Reason.UNKNOWN_MODEL, f"There is no model {digest[:12]} in the store {self.root}.")
        state = self._state(digest)
        if state != "kept":
            raise Refusal(Reason.IN_USE, f"Model {digest[:12]} is the {state} one and stays.")
        with _said(self.root):
            self._discard(self._folder(digest))

    def retain(self, keep: int = 3) -> tuple[str, ...]:
        """Take away the oldest but `keep`, beside active, previous and factory; the digests that went."""
        others = [entry.digest for entry in self.entries() if entry.state == "kept"]
        for digest in others[keep:]:
            self.remove(digest)
        return tuple(others[keep:])

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder on the store's disk, gone afterwards, and at the next opening at the latest."""
        self._must_be_open()
        folder = self.root / f".work-{secrets.token_hex(8)}"
        with _said(self.root):
            durable.make_folder(folder)
        try:
            yield folder
        finally:
            durable.remove_tree(folder)

    # --- how it is done

    def _must_be_open(self) -> None:
        if self.problem:
            raise Refusal(Reason.STORE_DAMAGED, f"No model can be changed: {self.problem}.")

    def _recover(self, factory: Bundle) -> Recovery:
        swept = self._sweep()
        former = self._target("factory")
        self.add(factory)
        if former != factory.digest:
            durable.replace_link(self.root / "factory", self._name(factory.digest))
        self._finish_activation()
        lost = self._restore_active(factory.digest)
        useless = self.previous in (None, self.active)
        if useless and os.path.lexists(self.root / "previous"):
            durable.remove_link(self.root / "previous")
        return Recovery(tuple(swept), lost, former if former not in (None, factory.digest) else None)

    def _sweep(self) -> list[str]:
        """Remove what was half made, and bundles that don't load any more."""
        swept = []
        for path in sorted(self.root.iterdir()):
            half_made = path.name.startswith(_HALF_MADE) or (path.name[0] == "." and path.suffix == ".new")
            if half_made:
                durable.remove_tree(path)
            elif path.name.startswith(_PREFIX) and not self._is_whole(path):
                self._discard(path)
            else:
                continue
            swept.append(path.name)
        if swept:
            log.warning("swept out of the model store: %s", ", ".join(swept))
        return swept

    def _finish_activation(self) -> None:
        """Do what `next` asks for. Done twice, or after a crash in its middle, it ends the same."""
        coming = self._target("next")
        if coming is not None:
            old = self._target("active")
            if old is not None and old != coming:
                durable.replace_link(self.root / "previous", self._name(old))
            durable.replace_link(self.root / "active", self._name(coming))
        if os.path.lexists(self.root / "next"):
            durable.remove_link(self.root / "next")

    def _restore_active(self, factory: str) -> str | None:
        if self._target("active") is not None:
            return None
        link = self.root / "active"
        lost = os.readlink(link).removeprefix(_PREFIX) if link.is_symlink() else None
        durable.replace_link(link, self._name(self.previous or factory))
        if lost is not None:
            log.error(
                "the active model %s can't be loaded any more; %s is active now", lost[:12], self.active[:12]
            )
        return lost

    def _discard(self, folder: Path) -> None:
        going = self.root / f".removing-{secrets.token_hex(8)}"
        durable.rename(folder, going)
        durable.remove_tree(going)

    def _target(self, link: str) -> str | None:
        """The digest that a link names, where its bundle is there."""
        try:
            name = os.readlink(self.root / link)
        except OSError:
            return None
        digest = name.removeprefix(_PREFIX)
        return digest if name.startswith(_PREFIX) and self._has(digest) else None

    def _has(self, digest: str) -> bool:
        return digest.isalnum() and digest not in self._unsound and os.path.isdir(self._folder(digest))

    def _is_whole(self, folder: Path) -> bool:
        try:
            return self._name(Bundle.load(folder).digest) == folder.name
        except BundleError as error:
            log.warning("%s", error)
            return False

    def _name(self, digest: str) -> str:
        return f"{_PREFIX}{digest}"

    def _folder(self, digest: str) -> Path:
        return bundle_folder(self.root, digest)

    def _folders(self) -> list[Path]:
        try:
            return [self.root / name for name in os.listdir(self.root) if name.startswith(_PREFIX)]
        except OSError:
            return []  # there is none yet, or we may not look into it

    def _state(self, digest: str) -> State:
        linked: dict[str | None, State] = {
            self.factory: "factory",
            self.previous: "previous",
            self.active: "active",
        }
        return linked.get(digest, "kept")

    def _entry(self, bundle: Bundle) -> Entry:
        return Entry(
            digest=bundle.digest,
            manifest=bundle.manifest,
            signed=bundle.signature is not None,
            size=bundle.size,
            state=self._state(bundle.digest),
            folder=bundle.folder,
            added=datetime.fromtimestamp(bundle.folder.stat().st_mtime, UTC),
        )


def _lock(root: Path) -> int:
    descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Refusal(
            Reason.STORE_LOCKED, f"Another process has the model store {root} open; stop the other updater."
        ) from None
    return descriptor


@contextmanager
def _said(root: Path) -> Iterator[None]:
    """What the disk refuses, as a Refusal."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(root, 0, shutil.disk_usage(root).free) from None
        raise Refusal(
            Reason.STORE_DAMAGED,
            f"The model store {root} can't be changed: {error.strerror} ({error.filename}).",
        ) from None


def _no_space(root: Path, needed: int, free: int) -> Refusal:
    more = f"; {needed >> 10} KiB are needed" if needed else ""
    return Refusal(Reason.NO_SPACE, f"The disk of {root} has {free >> 10} KiB free{more}. Free some space.")
