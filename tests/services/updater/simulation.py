"""A change without the updater's process: the real store, state file and RecognizerPeer, a clock that is set,
a recognizer and a worker that answer at once. What would be lost with a process is lost here with it, too.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypedDict

from messages import durable
from messages.command import Command, Reply
from messages.health import Heartbeat, ServiceState
from messages.message import new_boot_id
from messages.models import ModelProgress
from messages.presence import Presence
from messages.recognizer_commands import RecognizerAdopt, RecognizerModel, RecognizerTry, TrialReport
from messages.text import escaped
from messages.vision import ModelInfo
from models.bundle.archive import read_archive
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from models.store import Store
from models.store_reader import bundle_folder
from services.updater.change import ChangeRunner
from services.updater.preparation import Checked, Prepared, Rejected, Result, Scored
from services.updater.recognizer import RecognizerPeer, TrialTerms
from services.updater.state import Change, ModelStatus, PastRefusal, Score, StateFile

TERMS = TrialTerms(inferences=10, seconds=1.0, keep=2)
TICKS = 400


class Memory(TypedDict):
    boot_id: str
    active: str
    trial: str
    inferences: int


class Recognizer:
    """What the recognizer process has in memory, kept in a file, so that it outlives a killed updater."""

    def __init__(
        self,
        root: Path,
        crashing: Collection[str] = (),
        failing: Collection[str] = (),
    ) -> None:
        self.present = True
        self.deaf = False
        """It answers nothing for now, as a busy machine's, and takes nothing."""
        self.fixed = False
        """Its model stands in the settings."""
        self.calls: deque[Callable[[], None]] = deque()
        self.crashes = 0
        self._memory = root / "recognizer.json"
        self._store = root / "models"
        self._crashing, self._failing, self.unusable = crashing, failing, set[str]()

    @property
    def reading(self) -> str:
        """The digest it reads with."""
        memory = self._now()
        return memory["trial"] or memory["active"]

    def beat(self, seconds: float, state: ServiceState = "ready") -> Heartbeat:
        """What it says of itself now."""
        beat = Heartbeat(state=state, pid=1, uptime_s=1, details={"digest": self.reading})
        boot_id = self._now()["boot_id"]
        return beat.model_copy(update={"boot_id": boot_id, "monotonic_ns": round(seconds * 1e9)})

    def fall_back(self, digest: str) -> None:
        """It reads with that model instead, since the active one fails at pictures."""
        self.unusable = {*self.unusable, self._now()["active"]}
        self._keep(self._now() | {"active": digest})

    def restart(self) -> None:
        """Whatever it had in mind is gone."""
        self._memory.unlink(missing_ok=True)

    def ask(self, command: Command, answered: Callable[[Reply], None], deadline_s: float = 2.0) -> None:
        """As its command socket: the answer is among the `calls`."""
        if self.deaf:
            reply = Reply.refused("", "no-answer", "it is busy")
        elif self.fixed:
            reply = Reply.refused("", "fixed", "The model is set by recognizer.bundle")
        elif isinstance(command, RecognizerTry):
            reply = self._try(command)
        elif isinstance(command, RecognizerAdopt):
            reply = self._adopt(command.bundle)
        else:
            durable.fault_point("drop")
            self._keep(self._now() | {"trial": ""})
            reply = Reply.ok("")
        self.calls.append(lambda: answered(reply))

    def _try(self, command: RecognizerTry) -> Reply:
        durable.fault_point("try")
        memory, digest = self._now(), command.bundle
        if memory["trial"] != digest:
            if command.renew:
                return Reply.refused("", "no-trial", "it was restarted")
            memory |= {"trial": digest, "inferences": 0}
        elif digest in self._crashing:
            self.crashes += 1
            self.restart()
            return Reply.refused("", "no-answer", "it is gone")
        else:
            memory["inferences"] += 4
        self._keep(memory)
        report = TrialReport(
            digest=digest,
            phase="failed" if digest in self._failing else "reading",
            inferences=memory["inferences"],
            seconds=memory["inferences"] / 4,
            problem="it answers NaN" if digest in self._failing else "",
        )
        return Reply.ok("", report)

    def _adopt(self, digest: str) -> Reply:
        durable.fault_point("adopt")
        if digest in self.unusable:
            return Reply.refused("", "unusable", "it failed at a picture.")
        bundle = Bundle.load(bundle_folder(self._store, digest))
        self._keep(self._now() | {"active": bundle.digest, "trial": "", "inferences": 0})
        model = ModelInfo(name=bundle.manifest.name, version=bundle.manifest.version, digest=bundle.digest)
        return Reply.ok("", RecognizerModel(model=model))

    def _now(self) -> Memory:
        if not self._memory.exists():
            active = Bundle.load(self._store / "active").digest
            self._keep({"boot_id": new_boot_id(), "active": active, "trial": "", "inferences": 0})
        memory: Memory = json.loads(self._memory.read_text())
        return memory

    def _keep(self, memory: Memory) -> None:
        self._memory.write_text(json.dumps(memory))


class Worker:
    """Takes zips of bundles into the store, and takes their golden test for passed."""

    def __init__(self, store: Store, calls: deque[Callable[[], None]]) -> None:
        self.store, self.calls = store, calls
        self.told: list[Result] = []

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, PastRefusal],
        releases: Mapping[str, int],
    ) -> None:
        self.calls.append(lambda: self._work(change, content))

    def score(self, digest: str) -> None:
        self.calls.append(lambda: self.told.append(Scored(digest, Score(accuracy=0.99, latency_ms=0.3))))

    def results(self) -> list[Result]:
        told, self.told = self.told, []
        return told

    def _work(self, change: Change, content: bytes | None) -> None:
        path = change.location
        try:
            if content is not None:
                durable.replace_file(path, content)
            bundle = read_archive(path)
            self.told.append(Checked(change.id, None))
            self.store.add(bundle)
        except OSError as error:
            self.told.append(Rejected(change.id, Refusal("no_space", f"{error}."), source="of " + path.name))
        except Refusal as refusal:
            self.told.append(Rejected(change.id, refusal, source="of " + path.name))
        else:
            info = ModelInfo(name=bundle.manifest.name, version=bundle.manifest.version, digest=bundle.digest)
            score = Score(accuracy=0.9, latency_ms=0.2)
            self.told.append(Prepared(change.id, "of " + path.name, info, score))


class Car:
    """A ChangeRunner on the folder `root`, opened as after a start of the updater."""

    def __init__(
        self,
        root: Path,
        *,
        crashing: Collection[str] = (),
        failing: Collection[str] = (),
        worker: type[Worker] = Worker,
    ) -> None:
        self.store = Store(root / "models")
        self.state = StateFile(root / "ledger.json")
        self.recognizer = Recognizer(root, crashing, failing)
        self.calls = self.recognizer.calls
        self.told: list[ModelProgress] = []
        self.seconds = 0.0
        self.presence = Presence(self.clock)
        self.peer = RecognizerPeer(self.recognizer.ask, self.presence, self.clock)
        self.worker = worker(self.store, self.calls)
        status = ModelStatus(self.store, self.state)
        self.changes = ChangeRunner(status, self.worker, self.peer, self._announce, self.clock, TERMS)

    def clock(self) -> float:
        return self.seconds

    def start(self) -> None:
        """Go on with what was under way."""
        self.beat()
        self.changes.recover()
        self.advance()

    def beat(self, state: ServiceState = "ready") -> None:
        """The recognizer's heartbeat comes, where there is one."""
        if self.recognizer.present:
            beat = self.recognizer.beat(self.seconds, state)
            self.presence.heard(beat)
            self.peer.heard(beat)

    def advance(self) -> None:
        """What the service does whenever anything has happened."""
        self.changes.advance()

    def step(self, seconds: float = 0.05) -> None:
        """Let so much time pass, and do what is due."""
        while self.calls:
            self.calls.popleft()()
        self.seconds += seconds
        self.beat()
        self.advance()

    def settle(self) -> None:
        """Let time pass until nothing is under way, and the recognizer reads with what is active."""
        for _ in range(TICKS):
            self.step()
            if self.changes.change is None and not self.calls:
                return
        raise AssertionError(f"never ends: {self.changes.change}")

    def take(self, file: Path, change_id: str = "change") -> None:
        """Begin a change with a file of the data folder."""
        self.changes.begin(Change(id=change_id, origin="inbox", file=file.name, path=escaped(file)))

    def close(self) -> None:
        self.store.close()

    @property
    def steps(self) -> list[str]:
        return [progress.step for progress in self.told]

    def _announce(self, progress: ModelProgress) -> None:
        durable.fault_point(f"tell {progress.step}")
        self.told.append(progress)
