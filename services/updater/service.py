"""The updater service: takes models from the data folder and by command, and sees them through."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from messages.asking import Asker
from messages.command import Result
from messages.health import Heartbeat, JournalCursor
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
from messages.models import ModelProgress
from messages.offers import ModelWanted, StandingOffer
from messages.requests import AnyCommand, Handler, Later
from models.refusal import Refusal
from models.store import Store
from services.service import CannotStart, Service
from services.updater.doors import Desk
from services.updater.download import Download
from services.updater.fetching import Fetcher
from services.updater.inbox import Arrival, Inbox
from services.updater.ledger import Change, LedgerFile
from services.updater.lifecycle import Lifecycle, TrialTerms
from services.updater.offers import Offers
from services.updater.recognizer import RecognizerLink
from services.updater.workshop import Terms, Workshop

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
    has_journal = True

    def start(self) -> None:
        settings, models = self.settings, self.settings.models
        folder = settings.paths.state / self.name
        try:
            self._store = Store(settings.store)
        except Refusal as refusal:
            raise CannotStart(str(refusal)) from refusal
        ledger = LedgerFile(folder / "ledger.json")
        self._asker = Asker(self.context, self.runtime, "recognizer")
        self._recognizer = RecognizerLink(self._asker)
        terms = Terms(car=settings.car.name, groups=models.groups, trusted=models.trust)
        self._workshop = Workshop(self._store, terms, self.call_soon)
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
        self._offers = Offers(
            self._lifecycle, self._fetcher, models.follow, terms, self._announce, time.monotonic
        )
        self._incoming = folder / "incoming"
        self._desk = Desk(self._lifecycle, self._offers, self._incoming, self._history)
        self._wanted: ModelWanted | None = None
        self._shown: tuple[StandingOffer, ...] = ()
        self._inbox = Inbox(settings.inbox)
        self._inbox_problem = ""
        self.details["data_folder"] = str(self._inbox.folder)
        self._going = False
        self._take_commands()
        self.on_readable(self._asker.socket, self._asker.receive)
        self.subscribe({"health": self._heard, "bridge.cursor": self._on_cursor})
        self.every(LOOK_S, self._look)
        self.every(TICK_S, self._tick)
        self.every(SHOW_S, self._show_offers)
        self.every(DISK_AGAIN_S, self._go_on)
        self.after(MEASURE_AFTER_S, self._lifecycle.measure_active)
        self._go_on()
        self._show()
        self._report_state()

    def stop(self) -> None:
        if hasattr(self, "_lifecycle"):
            self._lifecycle.stop()
            self._fetcher.stop()
            self._workshop.close()
            self._asker.close()
        if hasattr(self, "_store"):
            self._store.close()

    def _take_commands(self) -> None:
        desk = self._desk
        self.handle(ModelUpload, desk.upload)
        self.handle(ModelInstall, desk.install)
        self.handle(ModelImport, desk.take_file)
        self.handle(ModelOffer, desk.offered)
        self.handle(ModelChunk, desk.chunk)
        self.handle(ModelActivate, desk.activate)
        self.handle(ModelRollback, desk.rollback)
        self.handle(ModelPin, self._then_shown(desk.pin))
        self.handle(ModelUnpin, self._then_shown(desk.unpin))
        self.handle(ModelRemove, self._then_shown(desk.remove))
        self.handle(ModelList, desk.models)

    def _then_shown(self, handler: Handler[AnyCommand]) -> Handler[AnyCommand]:
        """A handler after which the state is another one."""

        def handle(command: AnyCommand) -> Result | Later | None:
            result = handler(command)
            self._show()
            return result

        return handle

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
        change = Change(id=new_ulid(), origin="inbox", file=arrival.path.name, path=str(arrival.path))
        try:
            self._lifecycle.begin(change, seen=(arrival.path.name, arrival.seen))
        except Refusal as refusal:
            self._inbox_problem = f"{arrival.path.name} waits: {refusal}"

    # what happens

    def _announce(self, progress: ModelProgress) -> None:
        self.publish("model.progress", progress)
        self.metrics.count(f"changes_{progress.step}")
        self._desk.heard(progress)
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

    def _heard(self, beat: Heartbeat) -> None:
        if beat.source == "recognizer":
            self._recognizer.heard(beat)

    def _on_cursor(self, cursor: JournalCursor) -> None:
        assert self.journal is not None
        delivered = cursor.delivered.get(self.journal.id)
        if delivered is not None:
            self.journal.prune(delivered)

    def _tick(self) -> None:
        self._asker.expire()
        if self._going:
            self._lifecycle.tick()
            self._offers.tick()
        self._desk.tick()
        self._want()

    # what is offered

    def _show_offers(self) -> None:
        """Where it is otherwise than shown."""
        if self._offers.shown() != self._shown:
            self._show()

    def _want(self) -> None:
        """Tell the bridge what to bring, where that has changed."""
        wanted = self._offers.wanted(self._desk.listens_for) if self._going else ModelWanted()
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
