"""The updater service: takes models from the data folder and by command, and sees them through."""

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
    ModelPins,
    ModelRemove,
    ModelRollback,
    ModelUnpin,
    ModelUpload,
)
from messages.models import MODEL_PROGRESS, MODEL_STATE, ModelProgress
from messages.offers import MODEL_WANTED, ModelWanted, StandingOffer
from messages.recognizer_commands import RecognizerAdopt, RecognizerDrop, RecognizerTry
from models.refusal import Refusal
from services.config import Models
from services.service import Service

if TYPE_CHECKING:
    from services.updater.download import Download
    from services.updater.inbox import Arrival

LOOK_S = 0.5
MEASURE_AFTER_S = 5.0
"""The others have started by then."""
TICK_S = 0.05
DISK_AGAIN_S = 2.0
SHOW_S = 0.25
REMEMBERED_STEPS = 100


class UpdaterService(Service):
    """Owns the model store and its journal."""

    name = "updater"
    about = "takes new models, tries them, goes back"
    section = Models
    publishes = (MODEL_STATE, MODEL_PROGRESS, MODEL_WANTED)
    handles = {
        ModelUpload: "desk.upload",
        ModelInstall: "desk.install",
        ModelImport: "desk.take_file",
        ModelOffer: "desk.offered",
        ModelChunk: "desk.chunk",
        ModelActivate: "desk.activate",
        ModelRollback: "desk.rollback",
        ModelPin: "pin",
        ModelUnpin: "unpin",
        ModelList: "desk.models",
        ModelRemove: "remove",
    }
    peers = {"recognizer": (RecognizerTry, RecognizerAdopt, RecognizerDrop)}

    def start(self) -> None:
        from models.store import Store
        from services.updater.doors import Desk
        from services.updater.fetching import Fetcher
        from services.updater.inbox import Inbox
        from services.updater.ledger import LedgerFile
        from services.updater.lifecycle import Lifecycle, TrialTerms
        from services.updater.offers import Offers
        from services.updater.recognizer import RecognizerLink
        from services.updater.workshop import Terms, Workshop

        settings, models = self.settings, self.settings.models
        folder = settings.paths.state / self.name
        try:
            self._store = Store(settings.store)
        except Refusal as refusal:
            raise CannotStart(str(refusal)) from refusal
        self.on_stop(self._store.close)
        ledger = LedgerFile(folder / "ledger.json")
        self._recognizer = RecognizerLink(self.ask, self.presence["recognizer"])
        terms = Terms(car=settings.car.name, groups=models.groups, trusted=models.trust)
        self._workshop = Workshop(self._store, terms, self.call_soon)
        self.on_stop(self._workshop.close)
        self._lifecycle = Lifecycle(
            self._store,
            ledger,
            self._workshop,
            self._recognizer,
            self._announce,
            time.monotonic,
            TrialTerms(models.trial_inferences, models.trial_seconds, models.keep),
        )
        self._recognizer.listener = self._lifecycle
        self._fetcher = Fetcher(folder / "fetch", ledger, self._download, time.monotonic, self._fetched)
        self.on_stop(self._fetcher.stop)
        self.on_stop(self._lifecycle.stop)
        self._offers = Offers(
            self._lifecycle, self._fetcher, models.follow, terms, self._announce, time.monotonic
        )
        self._incoming = folder / "incoming"
        self.desk = Desk(self._lifecycle, self._offers, self._incoming, self._history)
        self._wanted: ModelWanted | None = None
        self._shown: tuple[StandingOffer, ...] = ()
        self._inbox = Inbox(settings.inbox)
        self._inbox_problem = ""
        self.details["data_folder"] = str(self._inbox.folder)
        self._going = False
        self.every(LOOK_S, self._look)
        self.every(TICK_S, self._tick)
        self.every(SHOW_S, self._show_offers)
        self.every(DISK_AGAIN_S, self._go_on)
        self.after(MEASURE_AFTER_S, self._lifecycle.measure_active)
        self._go_on()
        self._show()
        self._report_state()

    # commands after which the state is another one

    def pin(self, command: ModelPin) -> ModelPins:
        return self._then_shown(self.desk.pin(command))

    def unpin(self, command: ModelUnpin) -> ModelPins:
        return self._then_shown(self.desk.unpin(command))

    def remove(self, command: ModelRemove) -> ModelPins:
        return self._then_shown(self.desk.remove(command))

    def _then_shown(self, result: ModelPins) -> ModelPins:
        self._show()
        return result

    def _go_on(self) -> None:
        """Begin with what was left, once the disk takes it: a read-only one may be put right at any time."""
        if self._going:
            return
        self._store.try_again()
        ledger = self._lifecycle.ledger
        if ledger.problem:
            ledger.flush()
        if ledger.damaged is not None:
            self.details["ledger"] = f"was damaged; kept as {ledger.damaged}"
        try:
            self._lifecycle.must_be_possible()
            self._incoming.mkdir(exist_ok=True, mode=0o750)
            self._make_inbox()
        except (Refusal, OSError):
            return
        self._going = True
        self._sweep()
        self._offers.recover()
        self._lifecycle.recover()

    # the data folder

    def _make_inbox(self) -> None:
        """Where nothing else is configured it is ours to make. Raises OSError."""
        folder = self._inbox.folder
        if folder.parent == self.settings.paths.state:
            folder.mkdir(exist_ok=True, mode=0o770)

    def _look(self) -> None:
        try:
            arrivals = self._inbox.look(self._lifecycle.ledger.now.files)
        except OSError as error:
            self._inbox_problem = (
                f"the data folder {self._inbox.folder} can't be read ({error.strerror}); "
                f"let this service's user read it, or set models.inbox"
            )
        else:
            self._inbox_problem = ""
            if arrivals and self._going and self._lifecycle.change is None:
                self._take(arrivals[0])
        self._report_state()

    def _take(self, arrival: Arrival) -> None:
        from services.updater.ledger import Change

        change = Change(id=new_ulid(), origin="inbox", file=arrival.path.name, path=str(arrival.path))
        try:
            self._lifecycle.begin(change, seen=(arrival.path.name, arrival.seen))
        except Refusal as refusal:
            self._inbox_problem = f"{arrival.path.name} waits: {refusal}"

    # what happens

    def _announce(self, progress: ModelProgress) -> None:
        self.publish("model.progress", progress)
        self.metrics.count(f"changes_{progress.step}")
        self.desk.heard(progress)
        self._offers.told(progress)
        self.call_soon(self._show)

    def _show(self) -> None:
        self._shown = self._offers.shown()
        state = self._lifecycle.words.state(self._offers.follow, self._shown)
        self.details["model"] = f"{state.active.name} {state.active.version}"
        self.publish("model.state", state)

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

    def peer_heard(self, beat: Heartbeat, *, came: bool) -> None:
        self._recognizer.heard(beat)

    def _tick(self) -> None:
        if self._going:
            self._lifecycle.tick()
            self._offers.tick()
        self.desk.tick()
        self._want()

    # what is offered

    def _show_offers(self) -> None:
        """Where it is otherwise than shown."""
        if self._offers.shown() != self._shown:
            self._show()

    def _want(self) -> None:
        """Tell the bridge what to bring, where that has changed."""
        wanted = self._offers.wanted(self.desk.listens_for) if self._going else ModelWanted()
        if wanted != self._wanted:
            self._wanted = wanted
            self.publish("model.wanted", wanted)

    def _fetched(self) -> None:
        """More of it is there, or other chunks are wanted."""
        self.call_soon(self._want)

    def _download(
        self,
        url: str,
        path: Path,
        size: int,
        sha256: str,
        deadline_s: float,
        finished: Callable[[str], None],
    ) -> Download:
        from services.updater.download import Download

        def in_loop(problem: str) -> None:
            self.call_soon(lambda: finished(problem))

        return Download(url, path, size, sha256, deadline_s, in_loop)

    def _sweep(self) -> None:
        """Files that came with commands whose change has ended."""
        change = self._lifecycle.change
        wanted = change.path if change is not None else ""
        for path in self._incoming.iterdir():
            if str(path) != wanted:
                path.unlink(missing_ok=True)

    def _report_state(self) -> None:
        if problem := self._lifecycle.problem:
            self.report("degraded", f"no model can be changed: {problem}")
        elif problem := self._inbox_problem or self.journal_problem:
            self.report("degraded", problem)
        else:
            self.report("ready")
