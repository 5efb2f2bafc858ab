"""The store of models: bundles are added and removed, and one of them is active.

A folder is made beside its place and renamed into it; a link is made beside its place and renamed over it. So
at every instant `active` is one whole bundle, and the rename of `active` is what changes it: before that a
change that the disk refuses is undone, after it the change is finished. One process owns a store; others read
`active` by Bundle.load.

What can't be read for the moment stays where it is: nothing is moved or removed that was not read and found
wrong. On a disk that takes nothing a store can be read: what it holds, and the shipped bundle in any case.

    store = Store("/var/lib/smartcar/models")
    store.activate(store.add(Bundle.load("my-bundle")))
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from messages import durable
from messages.disk import why_not
from messages.errors import ErrorCode
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from models.store_reader import FACTORY_FOLDER, PREFIX, StoreReader

SPARE_BYTES = 16 << 20
"""What stays free on the disk beside a new bundle."""
MOST_SET_ASIDE = 3
"""So many damaged bundles are kept aside; the oldest of more goes."""
_DAMAGED = "damaged-"
_HALF_MADE = (".adding-", ".removing-", ".work-")

log = logging.getLogger(__name__)


class Store(StoreReader):
    """The store at `root`, made where there is none. Not for use by two threads at once.

    `closed` says why nothing can be changed, `set_aside` which bundles opening it found damaged.
    """

    def __init__(self, root: str | os.PathLike[str], factory: Path = FACTORY_FOLDER) -> None:
        """Open and recover, as far as the disk lets it. Raises Refusal: store_locked."""
        super().__init__(Path(root), Bundle.load(factory))
        self.closed = ""
        self.set_aside: tuple[str, ...] = ()
        self._lock = -1
        self._open()
        if self.closed:
            log.error("the model store %s can't be changed: %s", self.root, self.closed)
            self._left_out = {
                folder.name.removeprefix(PREFIX): flaw
                for folder in self._folders()
                if (flaw := self._flaw(folder)) is not None
            }

    @property
    def problem(self) -> str:
        """What is wrong with the store or a bundle of it; empty where nothing is."""
        return self.closed or next((str(flaw) for flaw in self._left_out.values()), "")

    def try_again(self) -> None:
        """Open and recover, where the disk hasn't let it so far, and use what can be read by now."""
        if self.closed:
            self.close()
            try:
                self._open()
            except Refusal as locked:
                self.closed = str(locked)
        else:
            for digest in tuple(self._left_out):
                self._look_at(self._folder(digest))

    def _open(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.root)
        except OSError as error:
            self.closed = why_not(self.root / ".lock", error)
            return
        before, self.closed, self._left_out = self._left_out, "", {}
        try:
            self._recover()
        except (Refusal, OSError) as error:
            self.close()
            self._left_out = before
            cause = error.__cause__ if isinstance(error, Refusal) else error
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.closed = why_not(self.root / "active", cause if isinstance(cause, OSError) else full)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # --- changes

    def add(self, bundle: Bundle) -> str:
        """Keep the bundle, as it was checked; its digest. Nothing changes where it is there already.

        Raises Refusal: no_space, store_damaged, unreadable.
        """
        self._must_be_open()
        folder = self._folder(bundle.digest)
        if os.path.isdir(folder):
            self._look_at(folder)
            if bundle.digest in self._left_out:
                raise Refusal(
                    ErrorCode.UNREADABLE, f"The model is there already: {self._left_out[bundle.digest]}."
                )
            if self._has(bundle.digest):
                return bundle.digest
        free = shutil.disk_usage(self.root).free
        if free < bundle.size + SPARE_BYTES:
            raise _no_space(self.root, bundle.size + SPARE_BYTES, free)
        half = self.root / f".adding-{secrets.token_hex(8)}"
        try:
            with _said(self.root):
                durable.make_folder(half)
                for name, content in bundle.files().items():
                    durable.write_file(half / name, content)
                durable.sync_folder(half)
                half.chmod(0o555)
                durable.rename(half, folder)
        except BaseException as error:
            durable.remove_tree(half)
            if not (isinstance(error, Refusal) and os.path.isdir(folder)):  # else it is done all the same
                raise
        return bundle.digest

    def activate(self, digest: str) -> None:
        """Make it the active model; the one that was becomes the previous.

        Raises Refusal: unknown_model, why its bundle can't be loaded any more, or what the disk refuses; then
        nothing has changed.
        """
        outgoing = self._link("active")
        if digest == outgoing:
            return
        self._must_be_open()
        self.load(digest)
        try:
            with _said(self.root):
                if outgoing is not None:
                    durable.replace_link(self.root / "outgoing", self._name(outgoing))
                durable.replace_link(self.root / "active", self._name(digest))
        except Refusal:
            if self._link("active") != digest:
                with suppress(OSError):  # it names the active model, which means nothing
                    durable.remove_link(self.root / "outgoing")
                raise
        try:
            self._finish_activation()
        except OSError as error:
            self.closed = why_not(self.root / "previous", error)
            log.error("the model store %s can't be changed: %s", self.root, self.closed)

    def remove(self, digest: str) -> None:
        """Take a bundle away. Raises Refusal: unknown_model, in_use."""
        self._must_be_open()
        if not self._has(digest):
            raise Refusal(
                ErrorCode.UNKNOWN_MODEL, f"There is no model {digest[:12]} in the store {self.root}."
            )
        state = self._state(digest)
        if state != "kept":
            raise Refusal(ErrorCode.IN_USE, f"Model {digest[:12]} is the {state} one and stays.")
        folder, going = self._folder(digest), self.root / f".removing-{secrets.token_hex(8)}"
        try:
            with _said(self.root):
                durable.rename(folder, going)
        except Refusal:
            if os.path.isdir(folder):
                raise
        durable.remove_tree(going)

    def retain(self, keep: int) -> None:
        """Take away the oldest but `keep`, beside active, previous and factory. Raises Refusal."""
        others = [entry.digest for entry in self.entries() if entry.state == "kept"]
        for digest in others[keep:]:
            self.remove(digest)

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

    # --- opening it

    def _must_be_open(self) -> None:
        if self.closed:
            raise Refusal(ErrorCode.STORE_DAMAGED, f"No model can be changed: {self.closed}.")

    def _recover(self) -> None:
        """Put right what a crash has left, and bring in the shipped model."""
        for path in sorted(self.root.iterdir()):
            half_made = path.name.startswith(_HALF_MADE) or (path.name[0] == "." and path.suffix == ".new")
            if (
                half_made or path.name == "next"
            ):  # `next`: of an earlier release, a change that never happened
                durable.remove_tree(path)
            elif path.name.startswith(PREFIX):
                self._look_at(path)
        shipped = self._shipped.digest
        if shipped not in self._left_out:
            self.add(self._shipped)
            if self._link("factory") != shipped:
                durable.replace_link(self.root / "factory", self._name(shipped))
        self._finish_activation()
        if (lost := self._link("active")) is None or not os.path.isdir(self._folder(lost)):
            durable.replace_link(self.root / "active", self._name(self.previous or self.factory))
            if lost is not None:
                log.error("the active model %s is lost; %s is active now", lost[:12], self.active[:12])
        previous = self._link("previous")
        if previous is not None and (
            previous == self._link("active") or not os.path.isdir(self._folder(previous))
        ):
            durable.remove_link(self.root / "previous")

    def _finish_activation(self) -> None:
        """Where `active` has moved, what was active is the previous. Done twice it ends the same."""
        outgoing = self._link("outgoing")
        if outgoing is not None and outgoing != self._link("active"):
            durable.replace_link(self.root / "previous", self._name(outgoing))
        if outgoing is not None:
            durable.remove_link(self.root / "outgoing")

    def _look_at(self, folder: Path) -> None:
        """Use the bundle, leave it out while it can't be read, or set it aside where it is damaged."""
        digest, flaw = folder.name.removeprefix(PREFIX), self._flaw(folder)
        if flaw is None:
            if self._left_out.pop(digest, None):
                log.info("model %s can be read again", digest[:12])
        elif flaw.reason == ErrorCode.UNREADABLE:
            if digest not in self._left_out:
                log.error("%s", flaw)
            self._left_out[digest] = flaw
        else:
            self._set_aside(folder, str(flaw))
            self._left_out.pop(digest, None)

    def _set_aside(self, folder: Path, flaw: str) -> None:
        aside = self.root / folder.name.replace(PREFIX, _DAMAGED, 1)
        durable.remove_tree(aside)
        durable.rename(folder, aside)
        self.set_aside += (f"{flaw} It is kept as {aside}.",)
        log.error("%s", self.set_aside[-1])
        kept = sorted(self.root.glob(f"{_DAMAGED}*"), key=lambda path: path.stat().st_ctime_ns)
        for path in kept[:-MOST_SET_ASIDE]:
            durable.remove_tree(path)


def _lock(root: Path) -> int:
    descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Refusal(
            ErrorCode.STORE_LOCKED,
            f"Another process has the model store {root} open; stop the other updater.",
        ) from None
    return descriptor


@contextmanager
def _said(root: Path) -> Iterator[None]:
    """What the disk refuses, as a Refusal."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(root, 0, shutil.disk_usage(root).free) from error
        raise Refusal(
            ErrorCode.STORE_DAMAGED,
            f"The model store {root} can't be changed: {error.strerror} ({error.filename}).",
        ) from error


def _no_space(root: Path, needed: int, free: int) -> Refusal:
    more = f"; {needed >> 10} KiB are needed" if needed else ""
    return Refusal(
        ErrorCode.NO_SPACE, f"The disk of {root} has {free >> 10} KiB free{more}. Free some space."
    )
