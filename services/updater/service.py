"""The updater service: takes models from the data folder and by command, and sees them through.

`_advance` is the line that every model goes along: offers bring files, a file becomes a change, the change is
prepared, tried and made active, and who asked is answered. It is called when anything has happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from messages.errors import CannotStart
from messages.health import Heartbeat
from messages.message import MalformedMessage, decode, new_ulid
from messages.model_commands import (
    ModelActivate,
    ModelChunk,
    ModelImport,
    ModelInstall,
    ModelList,
    ModelOffer,
    ModelPin,
    ModelRemove,
    ModelRollback,
    ModelUnpin,
    ModelUpload,
)
from messages.models import ENDED, MODEL_PROGRESS, MODEL_STATE, ModelProgress, ModelState
from messages.offers import MODEL_WANTED, ModelWanted
from messages.recognizer_commands import RecognizerAdopt, RecognizerDrop, RecognizerTry
from messages.text import escaped, file_name, printable
from models.refusal import Refusal
from services.config import Models
from services.service import Service

if TYPE_CHECKING:
    from services.updater.download import Download
    from services.updater.inbox import Arrival

LOOK_S = 0.5
TRIAL_LOOK_S = 0.1
"""While a model is tried."""
MEASURE_AFTER_S = 5.0
"""The others have started by then."""
DISK_AGAIN_S = 2.0
REMEMBERED_STEPS = 100


class UpdaterService(Service):
    """Owns the model store and its journal."""

    name = "updater"
    about = "takes new models, tries them, goes back"
    section = Models
    publishes = (MODEL_STATE, MODEL_PROGRESS, MODEL_WANTED)
    handles = {
        ModelUpload: "handlers.upload",
        ModelInstall: "handlers.install",
        ModelImport: "handlers.take_file",
        ModelOffer: "handlers.offered",
        ModelChunk: "handlers.chunk",
        ModelActivate: "handlers.activate",
        ModelRollback: "handlers.rollback",
        ModelPin: "handlers.pin",
        ModelUnpin: "handlers.unpin",
        ModelList: "handlers.models",
        ModelRemove: "handlers.remove",
    }
    peers = {"recognizer": (RecognizerTry, RecognizerAdopt, RecognizerDrop)}

    def start(self) -> None:
        from models.bundle.offer import CarTerms
        from models.store import Store
        from services.updater.change import ChangeRunner
        from services.updater.commands import CommandHandlers
        from services.updater.fetch import Fetcher
        from services.updater.inbox import Inbox
        from services.updater.offers import Offers
        from services.updater.preparation import PreparationWorker
        from services.updater.recognizer import RecognizerPeer, TrialTerms
        from services.updater.state import ModelStatus, StateFile

        settings, models, clock = self.settings, self.settings.models, time.monotonic
        folder = settings.paths.state / self.name
        try:
            self._store = Store(settings.store)
        except Refusal as refusal:
            raise CannotStart(refusal.sentence, refusal.remedy) from refusal
        self.on_stop(self._store.close)
        state = StateFile(folder / "ledger.json")
        self._status = ModelStatus(self._store, state)
        self._recognizer = RecognizerPeer(self.ask, self.presence["recognizer"], clock)
        terms = CarTerms(car=settings.car.name, groups=models.groups, trusted=models.trust)
        worker = PreparationWorker(self._store, terms, lambda: self.call_soon(self._advance))
        self.on_stop(worker.close)
        trial = TrialTerms(models.trial_inferences, models.trial_seconds, models.keep)
        self._changes = ChangeRunner(self._status, worker, self._recognizer, self._announce, clock, trial)
        self._fetcher = Fetcher(folder / "fetch", state, self._download, clock)
        self.on_stop(self._fetcher.stop)
        self.on_stop(self._note_stop)
        self._offers = Offers(self._changes, self._fetcher, models.follow, terms, self._announce, clock)
        self._incoming = folder / "incoming"
        self.handlers = CommandHandlers(self._changes, self._offers, self._incoming, self._history)
        self._inbox = Inbox(settings.inbox, clock)
        self._inbox_problem = ""
        self.details["data_folder"] = printable(str(self._inbox.folder), 500)
        self._going = self._looks_closely = False
        self._wanted: ModelWanted | None = None
        self._shown: ModelState | None = None
        self.every(LOOK_S, self._look)
        self.every(DISK_AGAIN_S, self._mend)
        self.after(MEASURE_AFTER_S, self._changes.measure_active)
        self._mend()
        self._advance()
        self._report_state()

    def peer_heard(self, beat: Heartbeat, *, came: bool) -> None:
        self._recognizer.heard(beat)
        self._advance()

    def _serve_commands(self) -> None:
        super()._serve_commands()
        self._advance()

    def _note_stop(self) -> None:
        if not self.crashed:
            self._changes.stop()

    # the line

    def _advance(self) -> None:
        """Do what is due, in the order in which a model goes through the updater."""
        if self._going:
            self._offers.advance()
            self._changes.advance()
        while self._changes.news:
            change, progress = self._changes.news.popleft()
            self.handlers.told(progress)
            self._offers.told(change, progress)
            if change.origin == "inbox" and progress.step in ENDED and progress.reason:
                self._inbox.postpone(change.location, Refusal(progress.reason, progress.sentence))
        self.handlers.advance()
        self._publish_changes()
        if self._changes.is_on_trial and not self._looks_closely:
            self._looks_closely = True
            self.after(TRIAL_LOOK_S, self._look_closely)

    def _look_closely(self) -> None:
        self._looks_closely = False
        self._advance()

    def _publish_changes(self) -> None:
        """Which model is which, and what the bridge is to bring, where that is otherwise than before."""
        state = self._model_state()
        if state != self._shown:
            self._shown = state
            self.details["model"] = f"{state.active.name} {state.active.version}"
            self.publish("model.state", state)
        wanted = self._offers.wanted(self.handlers.listens_for) if self._going else ModelWanted()
        if wanted != self._wanted:
            self._wanted = wanted
            self.publish("model.wanted", wanted)

    def _model_state(self) -> ModelState:
        store, status, state = self._store, self._status, self._changes.state.now
        change, previous = state.change, store.previous
        return ModelState(
            active=status.info(store.active),
            previous=status.info(previous) if previous is not None else None,
            trial=status.info(change.digest) if change is not None and change.step == "trial" else None,
            pinned=state.pinned,
            change=change.id if change is not None else "",
            step=change.step if change is not None else None,
            models=len(store.digests),
            releases=state.releases,
            follows=self._offers.follow,
            offers=self._offers.shown(),
        )

    def _announce(self, progress: ModelProgress) -> None:
        self.publish("model.progress", progress)
        self.metrics.count(f"changes_{progress.step}")

    def _history(self) -> list[ModelProgress]:
        """The latest steps, the newest last."""
        assert self.journal is not None
        steps = []
        for entry in self.journal.tail("model.progress", REMEMBERED_STEPS):
            try:
                steps.append(decode(ModelProgress, entry.payload))
            except MalformedMessage:  # of another version of smartcar
                self.metrics.count("malformed.journal")
        return steps

    def _download(
        self, url: str, path: Path, size: int, sha256: str, deadline_s: float, finished: Callable[[str], None]
    ) -> Download:
        from services.updater.download import Download

        def in_loop(problem: str) -> None:
            self.call_soon(lambda: finished(problem))
            self.call_soon(self._advance)

        return Download(url, path, size, sha256, deadline_s, in_loop)

    # the disk

    def _mend(self) -> None:
        """Use what can be read by now, and begin with what was left once the disk takes it."""
        if self._store.problem:
            self._store.try_again()
        state = self._changes.state
        if state.damaged is not None:
            self.details["ledger"] = f"was damaged; kept as {state.damaged}"
        if self._store.set_aside:
            self.details["store"] = printable("; ".join(self._store.set_aside), 500)
        if self._going:
            return
        try:
            self._changes.must_be_possible()
            self._incoming.mkdir(exist_ok=True, mode=0o750)
            if self._inbox.folder.parent == self.settings.paths.state:  # it is ours to make
                self._inbox.folder.mkdir(exist_ok=True, mode=0o770)
            self.handlers.sweep()
        except (Refusal, OSError):
            return
        self._going = True
        self._offers.recover()
        self._changes.recover()

    # the data folder

    def _look(self) -> None:
        try:
            arrival = self._inbox.look(self._changes.state.now.files)
        except OSError as error:
            self._inbox_problem = (
                f"The data folder {self._inbox.folder} can't be read ({error.strerror}); "
                f"let this service's user read it, or set models.inbox."
            )
        else:
            self._inbox_problem = ""
            if arrival is not None and self._going and self._changes.change is None:
                with self.item("inbox"):
                    self._take(arrival)
        self._advance()
        self._report_state()

    def _take(self, arrival: Arrival) -> None:
        from services.updater.state import Change

        name = file_name(arrival.path)
        change = Change(id=new_ulid(), origin="inbox", file=name, path=escaped(arrival.path))
        try:
            self._changes.begin(change, files=arrival.files)
        except Refusal as refusal:
            self._inbox_problem = f"{name} waits: {refusal}"

    def _report_state(self) -> None:
        if problem := self._changes.problem:
            self.report("degraded", f"No model can be changed: {problem}.")
        elif problem := self._store.problem or self._inbox_problem or self.journal_problem:
            self.report("degraded", printable(problem, 1000))
        else:
            self.report("ready")
