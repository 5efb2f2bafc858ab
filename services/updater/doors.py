"""What is asked of the updater, answered: the models there are, and how a change is begun by a command."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from messages.command import Command, CommandRefused
from messages.model_commands import (
    MAX_UPLOAD_BYTES,
    ModelActivate,
    ModelChange,
    ModelChunk,
    ModelImport,
    ModelInstall,
    ModelList,
    ModelOffer,
    ModelPin,
    ModelPins,
    ModelRemove,
    ModelRollback,
    ModelTable,
    ModelUnpin,
    ModelUpload,
    ModelUploaded,
)
from messages.models import ModelProgress, Origin, StoredModel
from messages.rpc.server import DeferredReply
from models.refusal import Reason, Refusal
from services.updater.ledger import Change, Fetch
from services.updater.lifecycle import Lifecycle
from services.updater.offers import Offers

_TAKEN = frozenset({"checked", "tested", "active", "kept"})
_UPLOAD = ".upload-"
SHORTEST = 4
"""So much of a digest is needed to name a model."""
OFFER_WITHIN_S = 3.0
"""An offer that is asked for and stands on the broker has come by then."""


@dataclass
class _Awaited:
    """Somebody asks for an offer that hasn't been seen yet."""

    command: ModelInstall
    answer: DeferredReply
    until: float


class Desk:
    """Takes commands for a Lifecycle. `incoming` is the folder for files that come with them."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        offers: Offers,
        incoming: Path,
        history: Callable[[], list[ModelProgress]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifecycle, self._offers, self._clock = lifecycle, offers, clock
        self._awaited: dict[str, _Awaited] = {}
        self._incoming = incoming
        self._history = history
        self._answers: dict[str, DeferredReply] = {}

    def heard(self, progress: ModelProgress) -> None:
        """A step of a change: who asked for it is answered once it is checked."""
        answer = self._answers.get(progress.change)
        if answer is None:
            return
        if progress.step in _TAKEN:
            del self._answers[progress.change]
            answer.answer(ModelChange(change=progress.change, step=progress.step, model=progress.model))
        elif progress.reason:
            del self._answers[progress.change]
            answer.refuse(progress.reason, progress.sentence)

    def install(self, command: ModelInstall) -> ModelChange | DeferredReply:
        if (known := self._known(command)) is not None:
            return known
        self._must_be_possible()
        if command.offer is not None:
            return self._install_offer(command, command.offer)
        if command.url is not None:
            return self._install_from(command, command.url)
        return self._take(command, "install", "bundle.zip")

    def offered(self, command: ModelOffer) -> None:
        """What stands on the broker, brought by the bridge."""
        self._offers.heard(command.name, command.content)
        awaited = self._awaited.pop(command.name, None)
        if awaited is None:
            return
        try:
            awaited.answer.answer(self._taken(awaited.command, command.name))
        except CommandRefused as refused:
            awaited.answer.refuse(refused.code, refused.message)

    def chunk(self, command: ModelChunk) -> None:
        self._offers.chunk(command.digest, command.number, command.content)

    @property
    def listens_for(self) -> tuple[str, ...]:
        """Names that somebody asked for, besides those that are followed."""
        return tuple(self._awaited)

    def tick(self) -> None:
        """Call a few times a second."""
        for name, awaited in tuple(self._awaited.items()):
            if self._clock() > awaited.until:
                del self._awaited[name]
                awaited.answer.refuse(
                    Reason.NO_OFFER,
                    f"No offer of {name} has come. Does it stand on the broker, and is the bridge connected?",
                )

    def take_file(self, command: ModelImport) -> ModelChange | DeferredReply:
        return self._take(command, "import", command.name)

    def upload(self, command: ModelUpload) -> ModelUploaded:
        """A part of a file that a later command names. Raises CommandRefused."""
        self._must_be_possible()
        path = self._upload(command.upload)
        try:
            if command.offset == 0:
                for old in self._incoming.glob(f"{_UPLOAD}*"):
                    old.unlink()
            with open(path, "ab") as file:
                if file.tell() != command.offset or command.offset + len(command.content) > MAX_UPLOAD_BYTES:
                    raise CommandRefused(
                        "out-of-order", f"{file.tell()} bytes are there, the part begins at {command.offset}"
                    )
                file.write(command.content)
                return ModelUploaded(size=file.tell())
        except OSError as error:
            raise CommandRefused(Reason.NO_SPACE, f"The file can't be kept: {error.strerror}.") from error

    def activate(self, command: ModelActivate) -> ModelChange:
        if (known := self._known(command)) is not None:
            return known
        digest = self._found(command.model)
        return self._begin(Change(id=command.id, origin="store", digest=digest, step="tested", pins=True))

    def rollback(self, command: ModelRollback) -> ModelChange:
        if (known := self._known(command)) is not None:
            return known
        previous = self._lifecycle.store.previous
        if previous is None:
            raise CommandRefused(Reason.NO_PREVIOUS, "There is no earlier model to go back to.")
        return self._begin(
            Change(id=command.id, origin="store", digest=previous, step="tested", on_trial=False, pins=True)
        )

    def pin(self, _: ModelPin) -> ModelPins:
        self._pin(pinned=True)
        self._offers.look()
        return self._pins()

    def unpin(self, _: ModelUnpin) -> ModelPins:
        self._pin(pinned=False)
        self._offers.unpinned()
        return self._pins()

    def _pin(self, *, pinned: bool) -> None:
        self._must_be_possible()
        try:
            self._lifecycle.pin(pinned=pinned)
        except Refusal as refusal:
            raise CommandRefused(refusal.reason, str(refusal)) from refusal

    def _must_be_possible(self) -> None:
        """Raises CommandRefused where the disk takes no change."""
        try:
            self._lifecycle.must_be_possible()
        except Refusal as refusal:
            raise CommandRefused(refusal.reason, str(refusal)) from refusal

    def remove(self, command: ModelRemove) -> ModelPins:
        change, digest = self._lifecycle.change, self._found(command.model)
        if change is not None and change.digest == digest:
            raise CommandRefused(Reason.BUSY, "That model is just being taken; wait for it.")
        try:
            self._lifecycle.store.remove(digest)
        except Refusal as refusal:
            raise CommandRefused(refusal.reason, str(refusal)) from refusal
        return self._pins()

    def models(self, _: ModelList) -> ModelTable:
        ledger, change = self._lifecycle.ledger.now, self._lifecycle.change
        rows = []
        for entry in self._lifecycle.store.entries():
            manifest, score = entry.manifest, ledger.scores.get(entry.digest)
            origin, file = self._origin(entry.digest)
            rows.append(
                StoredModel(
                    model=self._lifecycle.words.info(entry.digest, manifest),
                    release=manifest.release if manifest is not None else 0,
                    state=entry.state,
                    origin=origin,
                    file=file,
                    signed=entry.signed,
                    size=entry.size,
                    added=entry.added,
                    issued=manifest.issued if manifest is not None else None,
                    problem=entry.problem,
                    accuracy=score.accuracy if score else None,
                    latency_ms=round(score.latency_ms, 3) if score else None,
                )
            )
        return ModelTable(
            models=tuple(rows),
            pinned=ledger.pinned,
            trial=change.digest if change is not None and change.step == "trial" else "",
            history=tuple(self._history()),
            offers=self._offers.shown(),
        )

    def _origin(self, digest: str) -> tuple[Origin, str]:
        if digest == self._lifecycle.store.factory:
            return "factory", ""
        return self._lifecycle.ledger.now.origins.get(digest, ("store", ""))

    def _pins(self) -> ModelPins:
        store = self._lifecycle.store
        return ModelPins(
            pinned=self._lifecycle.ledger.now.pinned, active=self._lifecycle.words.info(store.active)
        )

    def _install_offer(self, command: ModelInstall, name: str) -> ModelChange | DeferredReply:
        if self._offers.standing(name) is not None and name in self._offers.follow:
            return self._taken(command, name)
        if name in self._awaited:
            raise CommandRefused(Reason.BUSY, f"The offer of {name} is just being asked for; wait for it.")
        self._offers.forget(name)  # it may stand no more: nobody listened
        later = DeferredReply()
        self._awaited[name] = _Awaited(command, later, self._clock() + OFFER_WITHIN_S)
        return later

    def _taken(self, command: ModelInstall, name: str) -> ModelChange:
        standing = self._offers.standing(name)
        if standing is None:
            raise CommandRefused(Reason.BAD_OFFER, f"What stands as the offer of {name} is none.")
        try:
            self._offers.take(standing, command.id, activate=command.activate)
        except Refusal as refusal:
            raise CommandRefused(refusal.reason, str(refusal)) from refusal
        return ModelChange(change=command.id, step="fetching", model=standing.model)

    def _install_from(self, command: ModelInstall, url: str) -> ModelChange:
        fetch = Fetch(
            id=command.id,
            origin="install",
            digest=command.sha256 or "",
            size=command.size or 0,
            url=url,
            asked=True,
            activate=command.activate,
        )
        if self._lifecycle.ledger.now.pinned and command.activate:
            active = self._lifecycle.words.title(self._lifecycle.store.active)
            raise CommandRefused(
                Reason.PINNED, f"{active} is pinned; smartcar model unpin lets others replace it."
            )
        try:
            self._offers.fetch(fetch)
        except Refusal as refusal:
            raise CommandRefused(refusal.reason, str(refusal)) from refusal
        return ModelChange(change=command.id, step="fetching")

    def _take(
        self, command: ModelInstall | ModelImport, origin: Origin, file: str
    ) -> ModelChange | DeferredReply:
        if (known := self._known(command)) is not None:
            return known
        path = self._incoming / file  # one change at a time: nothing else is there
        if command.upload is not None and self._lifecycle.change is None:
            try:
                self._upload(command.upload).replace(path)
            except OSError:
                raise CommandRefused(Reason.MISSING, "That file was not uploaded; send it again.") from None
        later = self._answers[command.id] = DeferredReply()
        change = Change(id=command.id, origin=origin, file=file, path=str(path), activate=command.activate)
        try:
            self._lifecycle.begin(change, command.content or None)
        except Refusal as refusal:
            self._answers.pop(command.id, None)
            raise CommandRefused(refusal.reason, str(refusal)) from refusal
        return later

    def _upload(self, name: str) -> Path:
        return self._incoming / f"{_UPLOAD}{name}"

    def _begin(self, change: Change) -> ModelChange:
        try:
            self._lifecycle.begin(change)
        except Refusal as refusal:
            raise CommandRefused(refusal.reason, str(refusal)) from refusal
        now = self._lifecycle.change
        return ModelChange(
            change=change.id,
            step=now.step if now is not None else "active",
            model=self._lifecycle.words.info(change.digest),
        )

    def _known(self, command: Command) -> ModelChange | None:
        """A command that came before, perhaps to a process that was killed since, is not done twice."""
        change, ended = self._lifecycle.change, self._lifecycle.ledger.now.ended.get(command.id)
        if change is not None and change.id == command.id:
            return ModelChange(change=change.id, step=change.step)
        if self._offers.is_fetching(command.id):
            return ModelChange(change=command.id, step="fetching")
        if ended is None or ended[0] == "interrupted":
            return None
        return ModelChange(change=command.id, step=ended[0])

    def _found(self, name: str) -> str:
        """The digest of the model that is meant. Raises CommandRefused."""
        store = self._lifecycle.store
        if name in ("previous", "factory", "active"):
            digest = {"previous": store.previous, "factory": store.factory, "active": store.active}[name]
            if digest is None:
                raise CommandRefused(Reason.NO_PREVIOUS, "There is no earlier model to go back to.")
            return digest
        found = [digest for digest in store.digests if digest.startswith(name.lower())]
        if len(found) != 1 or len(name) < SHORTEST:
            what = "several models" if len(found) > 1 else "no model"
            raise CommandRefused(
                Reason.UNKNOWN_MODEL,
                f"{name} names {what}; give more of a digest that smartcar model list shows",
            )
        return found[0]
