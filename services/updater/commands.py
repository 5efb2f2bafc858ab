"""What is asked of the updater, answered: the models there are, and how a change is begun by a command.

A handler raises Refusal where it will not; a change that comes with a file is answered once it is checked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from messages import durable
from messages.command import Command
from messages.errors import ErrorCode
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
from messages.text import escaped
from models.refusal import Refusal
from services.updater.change import ChangeRunner
from services.updater.offers import Offers
from services.updater.state import Change, Fetch

_TAKEN = frozenset({"checked", "tested", "active", "kept"})
UPLOAD = ".upload-"
KEEP_UPLOAD_S = 24 * 3600.0
"""A file that was uploaded, and that no command has taken, is kept for so long."""
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


class CommandHandlers:
    """Takes commands for a ChangeRunner and Offers. Files that come with them lie in `incoming`."""

    def __init__(
        self,
        changes: ChangeRunner,
        offers: Offers,
        incoming: Path,
        history: Callable[[], list[ModelProgress]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes, self._offers, self._clock = changes, offers, clock
        self._store, self._state = changes.store, changes.state
        self._incoming, self._history = incoming, history
        self._awaited: dict[str, _Awaited] = {}
        self._answers: dict[str, DeferredReply] = {}

    # models from elsewhere

    def install(self, command: ModelInstall) -> ModelChange | DeferredReply:
        if (known := self._known(command)) is not None:
            return known
        self._changes.must_be_possible()
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
        except Refusal as refusal:
            awaited.answer.refuse(refusal.reason, refusal.sentence, refusal.remedy)

    def chunk(self, command: ModelChunk) -> None:
        self._offers.chunk(command.digest, command.number, command.content)

    def take_file(self, command: ModelImport) -> ModelChange | DeferredReply:
        return self._take(command, "import", command.name)

    def upload(self, command: ModelUpload) -> ModelUploaded:
        """A part of a file that a later command names; a part that was refused may come again."""
        self._changes.must_be_possible()
        path = self._incoming / f"{UPLOAD}{command.upload}"
        try:
            if command.offset == 0:
                for old in self._incoming.glob(f"{UPLOAD}*"):
                    old.unlink()
            with open(path, "ab", buffering=0) as file:
                there = file.tell()
                if there != command.offset or there + len(command.content) > MAX_UPLOAD_BYTES:
                    sentence = f"{there} bytes are there, and the part begins at {command.offset}."
                    raise Refusal(ErrorCode.OUT_OF_ORDER, sentence)
                if file.write(command.content) < len(command.content):
                    os.truncate(path, there)
                    raise Refusal(ErrorCode.NO_SPACE, "The disk is full.", "Free some space; then go on.")
                return ModelUploaded(size=file.tell())
        except OSError as error:
            sentence = f"The file can't be kept: {error.strerror}."
            raise Refusal(ErrorCode.NO_SPACE, sentence, "Free some space; then go on.") from error

    # models of the store

    def activate(self, command: ModelActivate) -> ModelChange:
        if (known := self._known(command)) is not None:
            return known
        digest = self._found(command.model)
        return self._begin(Change(id=command.id, origin="store", digest=digest, step="tested", pins=True))

    def rollback(self, command: ModelRollback) -> ModelChange:
        if (known := self._known(command)) is not None:
            return known
        digest = self._found("previous")
        return self._begin(
            Change(id=command.id, origin="store", digest=digest, step="tested", on_trial=False, pins=True)
        )

    def pin(self, _: ModelPin) -> ModelPins:
        return self._pin(pinned=True)

    def unpin(self, _: ModelUnpin) -> ModelPins:
        return self._pin(pinned=False)

    def _pin(self, *, pinned: bool) -> ModelPins:
        self._changes.must_be_possible()
        self._state.commit(pinned=pinned)
        self._offers.look(anew=not pinned)
        return self._pins()

    def remove(self, command: ModelRemove) -> ModelPins:
        change, digest = self._changes.change, self._found(command.model)
        if change is not None and change.digest == digest:
            raise Refusal(ErrorCode.BUSY, "That model is just being taken.", "Wait for it.")
        self._store.remove(digest)
        return self._pins()

    def models(self, _: ModelList) -> ModelTable:
        state, change = self._state.now, self._changes.change
        rows = []
        for entry in self._store.entries():
            manifest, score = entry.manifest, state.scores.get(entry.digest)
            origin, file = self._origin(entry.digest)
            rows.append(
                StoredModel(
                    model=self._changes.status.info(entry.digest, manifest),
                    release=manifest.release if manifest is not None else 0,
                    state=entry.state,
                    origin=origin,
                    file=file,
                    signed=entry.signed,
                    size=entry.size,
                    added=entry.added,
                    issued=manifest.issued if manifest is not None else None,
                    problem=entry.problem,
                    peculiarities=manifest.peculiarities if manifest is not None else (),
                    accuracy=score.accuracy if score else None,
                    latency_ms=round(score.latency_ms, 3) if score else None,
                )
            )
        return ModelTable(
            models=tuple(rows),
            pinned=state.pinned,
            trial=change.digest if change is not None and change.step == "trial" else "",
            history=tuple(self._history()),
            offers=self._offers.shown(),
        )

    # what happens meanwhile

    def told(self, progress: ModelProgress) -> None:
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

    @property
    def listens_for(self) -> tuple[str, ...]:
        """Names that somebody asked for, besides those that are followed."""
        return tuple(self._awaited)

    def advance(self) -> None:
        """Refuse what was asked for and has not come. Call about once a second."""
        for name, awaited in tuple(self._awaited.items()):
            if self._clock() > awaited.until:
                del self._awaited[name]
                remedy = "Does it stand on the broker, and is the bridge connected?"
                awaited.answer.refuse(ErrorCode.NO_OFFER, f"No offer of {name} has come.", remedy)

    def sweep(self) -> None:
        """Remove files that came with commands whose change has ended. Raises OSError."""
        change = self._changes.change
        wanted = change.location if change is not None and change.path else None
        for path in self._incoming.iterdir():
            young = path.name.startswith(UPLOAD) and time.time() - path.stat().st_mtime < KEEP_UPLOAD_S
            if path != wanted and not young:
                path.unlink(missing_ok=True)

    # how it is done

    def _install_offer(self, command: ModelInstall, name: str) -> ModelChange | DeferredReply:
        if self._offers.standing(name) is not None and name in self._offers.follow:
            return self._taken(command, name)
        if name in self._awaited:
            raise Refusal(ErrorCode.BUSY, f"The offer of {name} is just being asked for.", "Wait for it.")
        self._offers.forget(name)  # it may stand no more: nobody listened
        reply = DeferredReply()
        self._awaited[name] = _Awaited(command, reply, self._clock() + OFFER_WITHIN_S)
        return reply

    def _taken(self, command: ModelInstall, name: str) -> ModelChange:
        offer = self._offers.standing(name)
        if offer is None:
            raise Refusal(ErrorCode.BAD_OFFER, f"What stands as the offer of {name} is none.")
        self._offers.take(offer, command.id, activate=command.activate)
        return ModelChange(change=command.id, step="fetching", model=offer.model)

    def _install_from(self, command: ModelInstall, url: str) -> ModelChange:
        if self._state.now.pinned and command.activate:
            raise self._changes.status.pinned("others")
        fetch = Fetch(
            id=command.id,
            origin="install",
            digest=command.sha256 or "",
            size=command.size or 0,
            url=url,
            asked=True,
            activate=command.activate,
        )
        self._offers.fetch(fetch)
        return ModelChange(change=command.id, step="fetching")

    def _take(
        self, command: ModelInstall | ModelImport, origin: Origin, file: str
    ) -> ModelChange | DeferredReply:
        if (known := self._known(command)) is not None:
            return known
        path = self._incoming / file  # one change at a time: nothing else is there
        upload = self._incoming / f"{UPLOAD}{command.upload}" if command.upload is not None else None
        change = Change(
            id=command.id,
            origin=origin,
            file=file,
            path=escaped(path),
            upload=upload.name if upload is not None else "",
            activate=command.activate,
        )
        self._changes.must_be_let(change)
        if upload is not None:
            try:
                durable.rename(upload, path)
            except OSError:
                raise Refusal(ErrorCode.MISSING, "That file was not uploaded.", "Send it again.") from None
        reply = self._answers[command.id] = DeferredReply()
        try:
            self._changes.begin(change, command.content or None)
        except Refusal:
            del self._answers[command.id]
            if upload is not None:
                with suppress(OSError):
                    durable.rename(path, upload)
            raise
        return reply

    def _begin(self, change: Change) -> ModelChange:
        self._changes.begin(change)
        told = [progress for of, progress in self._changes.news if of.id == change.id]
        if told[-1].reason:  # it has ended already, and not well
            raise Refusal(told[-1].reason, told[-1].sentence)
        return ModelChange(
            change=change.id, step=told[-1].step, model=self._changes.status.info(change.digest)
        )

    def _known(self, command: Command) -> ModelChange | None:
        """A command that came before, perhaps to a process that was killed since, is not done twice."""
        change, ended = self._changes.change, self._state.now.ended.get(command.id)
        if change is not None and change.id == command.id:
            return ModelChange(change=change.id, step=change.step)
        if self._offers.is_fetching(command.id):
            return ModelChange(change=command.id, step="fetching")
        if ended is None or ended[0] == "interrupted":
            return None
        return ModelChange(change=command.id, step=ended[0])

    def _origin(self, digest: str) -> tuple[Origin, str]:
        if digest == self._store.factory:
            return "factory", ""
        return self._state.now.origins.get(digest, ("store", ""))

    def _pins(self) -> ModelPins:
        return ModelPins(pinned=self._state.now.pinned, active=self._changes.status.info(self._store.active))

    def _found(self, name: str) -> str:
        """The digest of the model that is meant. Raises Refusal."""
        store = self._store
        if name in ("previous", "factory", "active"):
            digest = {"previous": store.previous, "factory": store.factory, "active": store.active}[name]
            if digest is None:
                raise Refusal(ErrorCode.NO_PREVIOUS, "There is no earlier model to go back to.")
            return digest
        found = [digest for digest in store.digests if digest.startswith(name.lower())]
        if len(found) != 1 or len(name) < SHORTEST:
            what = "several models" if len(found) > 1 else "no model"
            remedy = "Give more of a digest that smartcar model list shows."
            raise Refusal(ErrorCode.UNKNOWN_MODEL, f"{name} names {what}.", remedy)
        return found[0]
