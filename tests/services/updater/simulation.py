"""An updater's lifecycle without its process: the real store and ledger, a clock that is told, a recognizer
and a workshop that answer at once. What would be lost with a process is lost here with the process, too.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypedDict

from messages import durable
from messages.command import Reply
from messages.models import ModelProgress
from messages.recognizer_commands import TrialReport
from messages.vision import ModelInfo
from models.bundle.archive import read_archive
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from models.store import Store
from models.store_reader import bundle_folder
from services.updater.ledger import Change, LedgerFile, Score, Verdict
from services.updater.lifecycle import Lifecycle, TrialTerms
from services.updater.workshop import Heard, Prepared, Rejected, receive

TERMS = TrialTerms(inferences=10, seconds=1.0, keep=2)
TICKS = 400


class Memory(TypedDict):
    active: str
    trial: str
    inferences: int


class Recognizer:
    """What the recognizer process has in memory, kept in a file, so that it outlives a killed updater."""

    present = True

    def __init__(self, root: Path, crashing: Collection[str] = (), failing: Collection[str] = ()) -> None:
        self._memory = root / "recognizer.json"
        self._store = root / "models"
        self._crashing, self._failing = crashing, failing
        self.calls: deque[Callable[[], None]] = deque()
        self.crashes = 0

    @property
    def reading(self) -> str:
        """The digest it reads with."""
        memory = self._now()
        return memory["trial"] or memory["active"]

    def restart(self) -> None:
        """Whatever it had in mind is gone."""
        self._memory.unlink(missing_ok=True)

    def attempt(self, digest: str, *, renew: bool, answered: Callable[[Reply], None]) -> None:
        durable.fault_point("try")
        memory = self._now()
        if memory["trial"] != digest:
            if renew:
                self.calls.append(lambda: answered(Reply.refused("", "no-trial", "it was restarted")))
                return
            memory |= {"trial": digest, "inferences": 0}
        elif digest in self._crashing:
            self.crashes += 1
            self.restart()
            self.calls.append(lambda: answered(Reply.refused("", "no-answer", "it is gone")))
            return
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
        self.calls.append(lambda: answered(Reply.ok("", report)))

    def adopt(self, digest: str) -> None:
        durable.fault_point("adopt")
        active = Bundle.load(bundle_folder(self._store, digest)).digest
        self._keep({"active": active, "trial": "", "inferences": 0})

    def drop(self) -> None:
        durable.fault_point("drop")
        memory = self._now()
        memory["trial"] = ""
        self._keep(memory)

    def _now(self) -> Memory:
        if not self._memory.exists():
            active = Bundle.load(self._store / "active").digest
            self._memory.write_text(json.dumps({"active": active, "trial": "", "inferences": 0}))
        memory: Memory = json.loads(self._memory.read_text())
        return memory

    def _keep(self, memory: Memory) -> None:
        self._memory.write_text(json.dumps(memory))


class Workshop:
    """Takes zips of bundles into the store, and takes their golden test for passed."""

    def __init__(self, store: Store, calls: deque[Callable[[], None]]) -> None:
        self._store, self._calls = store, calls

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, Verdict],
        releases: Mapping[str, int],
        heard: Heard,
    ) -> None:
        self._calls.append(lambda: self._work(change, content, heard))

    def score(self, digest: str, heard: Heard) -> None:
        self._calls.append(lambda: heard.scored(digest, Score(accuracy=0.99, latency_ms=0.3)))

    def _work(self, change: Change, content: bytes | None, heard: Heard) -> None:
        path = Path(change.path)
        try:
            if content is not None:
                receive(path, content)
            bundle = read_archive(path)
            heard.checked(change, None)
            self._store.add(bundle)
        except Refusal as refusal:
            heard.prepared(change, Rejected(refusal, source="of " + path.name))
            return
        info = ModelInfo(name=bundle.manifest.name, version=bundle.manifest.version, digest=bundle.digest)
        score = Score(accuracy=0.9, latency_ms=0.2)
        heard.prepared(change, Prepared("of " + path.name, info, bundle.manifest.release, score))


class Car:
    """A lifecycle on the folder `root`, opened as after a start of the updater."""

    def __init__(self, root: Path, *, crashing: Collection[str] = (), failing: Collection[str] = ()) -> None:
        self.store = Store(root / "models")
        self.ledger = LedgerFile(root / "ledger.json")
        self.recognizer = Recognizer(root, crashing, failing)
        self.calls = self.recognizer.calls
        self.told: list[ModelProgress] = []
        self.seconds = 0.0
        self.lifecycle = Lifecycle(
            self.store,
            self.ledger,
            Workshop(self.store, self.calls),
            self.recognizer,
            self._announce,
            lambda: self.seconds,
            TERMS,
        )

    def start(self) -> None:
        """Go on with what was under way."""
        self.lifecycle.recover()
        self.lifecycle.recognizer_came()

    def settle(self) -> None:
        """Let time pass until nothing is under way."""
        for _ in range(TICKS):
            while self.calls:
                self.calls.popleft()()
            if self.lifecycle.change is None:
                return
            self.seconds += 0.05
            self.lifecycle.tick()
        raise AssertionError(f"never ends: {self.lifecycle.change}")

    def take(self, file: Path, change_id: str = "change") -> None:
        """Begin a change with a file of the data folder."""
        self.lifecycle.begin(Change(id=change_id, origin="inbox", file=file.name, path=str(file)))

    def close(self) -> None:
        self.store.close()

    @property
    def steps(self) -> list[str]:
        return [progress.step for progress in self.told]

    def _announce(self, progress: ModelProgress) -> None:
        durable.fault_point(f"tell {progress.step}")
        self.told.append(progress)
