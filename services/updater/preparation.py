"""From a file to a tested bundle in the store: what takes long, in a thread and in throw-away processes.

worker.prepare(change, None, refused={}, releases={})
worker.results()    # after `wake` was called: Checked, and then Prepared or Rejected
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from messages import durable
from messages.errors import ErrorCode
from messages.vision import ModelInfo
from models.bundle.bundle import Bundle, BundleError
from models.bundle.offer import CarTerms, known_time
from models.refusal import Refusal
from models.store import Store
from services.updater.state import Change, PastRefusal, Score

if TYPE_CHECKING:
    from models.bundle.acceptance import Proof  # which loads NumPy

PAYLOAD_FILE = "payload"
"""What is fetched of an offer, beside its manifest and signature."""
PASSING = frozenset(
    {
        ErrorCode.UNREADABLE,
        ErrorCode.CHANGED,
        ErrorCode.NO_SPACE,
        ErrorCode.STORE_LOCKED,
        ErrorCode.STORE_DAMAGED,
    }
)
"""What has kept a file out may pass by itself: it is taken another time."""
NOT_TO_BLAME = PASSING | {
    ErrorCode.MISSING, ErrorCode.TIMED_OUT, ErrorCode.BUSY, ErrorCode.PINNED,
    ErrorCode.UNSIGNED, ErrorCode.UNKNOWN_KEY, ErrorCode.BAD_SIGNATURE,
    ErrorCode.OLDER, ErrorCode.EXPIRED, ErrorCode.NOT_FOR_THIS_CAR,
    ErrorCode.REFUSED_BEFORE, ErrorCode.INCOMPLETE,
}  # fmt: skip
"""The same file may be taken where somebody asks for it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """Size, hash and signature are well, and it wasn't refused before; a model's file has no name yet."""

    change: str
    model: ModelInfo | None


@dataclass(frozen=True)
class Prepared:
    """A bundle that is in the store and has passed its golden test."""

    change: str
    source: str
    model: ModelInfo
    score: Score
    peculiarities: tuple[str, ...] = ()
    """How it wants its digits, as far as that is not the usual way."""


@dataclass(frozen=True)
class Rejected:
    """Why there is none; `source` and `digest` as far as they were known."""

    change: str
    refusal: Refusal
    source: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Scored:
    """A model of the store was measured; without a score where it can't be."""

    digest: str
    score: Score | None


Result = Checked | Prepared | Rejected | Scored


class Worker(Protocol):
    """What prepares models, and tells of it when it is asked."""

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, PastRefusal],
        releases: Mapping[str, int],
    ) -> None: ...

    def score(self, digest: str) -> None: ...

    def results(self) -> list[Result]: ...


class PreparationWorker:
    """One thread that takes one job after the other; `wake` is called in it when there is a result."""

    def __init__(self, store: Store, terms: CarTerms, wake: Callable[[], None]) -> None:
        self._store, self._terms, self._wake = store, terms, wake
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._results: deque[Result] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="preparation", daemon=True)
        self._thread.start()

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, PastRefusal],
        releases: Mapping[str, int],
    ) -> None:
        """Make of the change's file a tested bundle in the store. `content` is first written to the file."""
        work = Preparation(self._store, self._terms, change, refused, releases, lambda: self._stopping)
        self._jobs.put(lambda: self._prepare(work, content))

    def score(self, digest: str) -> None:
        """Measure a model of the store on the car's golden digits."""
        self._jobs.put(lambda: self._tell(Scored(digest, self._score(digest))))

    def results(self) -> list[Result]:
        """What is known by now and was not taken before."""
        return [self._results.popleft() for _ in range(len(self._results))]

    def close(self) -> None:
        """End the thread, and whatever process it waits for."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join(5.0)

    # in the thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopping:
            job()

    def _tell(self, result: Result) -> None:
        if not self._stopping:
            self._results.append(result)
            self._wake()

    def _prepare(self, work: Preparation, content: bytes | None) -> None:
        try:
            result: Result = work.done(content, self._tell)
        except Refusal as refusal:
            result = work.rejected(refusal)
        except Exception as error:  # one strange file is not to stop the updater
            log.exception("preparing a model")
            sentence = f"Taking it failed in a way nobody foresaw: {type(error).__name__}: {error}."
            result = work.rejected(Refusal(ErrorCode.CRASHED, sentence, "The log has more."))
        self._tell(result)

    def _score(self, digest: str) -> Score | None:
        from models.bundle.manifest import INBOX_TERMS
        from models.importing.isolated import prove

        lenient = INBOX_TERMS.model_copy(update={"accuracy": 0.0, "latency_ms": 1e9})
        try:
            golden = self._store.load(self._store.factory)
            bundle = self._store.load(digest)
            proof = prove(bundle, golden=golden, terms=lenient, cancelled=lambda: self._stopping)
        except Refusal as refusal:
            log.info("model %s can't be measured: %s", digest[:12], refusal)
        except Exception:  # no process to be had, say: the next job may find one
            log.exception("measuring model %s", digest[:12])
        else:
            return Score(accuracy=proof.accuracy, latency_ms=proof.latency_ms)
        return None


class Preparation:
    """Of one change: from its file to a tested bundle in the store."""

    def __init__(
        self,
        store: Store,
        terms: CarTerms,
        change: Change,
        refused: Mapping[str, PastRefusal],
        releases: Mapping[str, int],
        cancelled: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._terms, self._change, self._now = store, terms, change, now
        self._refused, self._releases, self._cancelled = refused, releases, cancelled
        self._source = self._digest = ""

    def rejected(self, refusal: Refusal) -> Rejected:
        return Rejected(self._change.id, refusal, self._source, self._digest)

    def done(self, content: bytes | None, tell: Callable[[Checked], None]) -> Prepared:
        """The outcome; `tell` hears before the golden test that it was checked. Raises Refusal."""
        from models.bundle.archive import read_archive
        from models.importing.isolated import intake, source_digest

        path = self._change.location
        if self._change.origin == "offer":
            self._source = self._change.source
            return self._bundle(self._offered(path), tell)
        if content is not None:
            durable.replace_file(path, content)
        kind = intake(path)
        self._source = source_digest(path)
        self._not_again(self._source)
        if kind == "bundle":
            return self._bundle(read_archive(path), tell)
        if self._change.origin == "install":
            raise Refusal(
                ErrorCode.UNKNOWN_FORMAT,
                f"{self._change.file} is no bundle, and only a signed bundle is installed.",
                "A model file goes into the car's data folder.",
            )
        tell(Checked(self._change.id, None))
        return self._model(path)

    def _offered(self, folder: Path) -> Bundle:
        """The bundle that was fetched. What is wrong with the payload is not the release's fault."""
        from models.bundle.bundle import read_regular
        from models.bundle.manifest import (
            MANIFEST_FILE,
            MAX_MANIFEST_BYTES,
            MAX_SIGNATURE_BYTES,
            SIGNATURE_FILE,
        )
        from models.bundle.payload import MAX_PAYLOAD_BYTES, bundle_of

        try:
            return bundle_of(
                read_regular(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES),
                read_regular(folder / SIGNATURE_FILE, MAX_SIGNATURE_BYTES),
                read_regular(folder / PAYLOAD_FILE, MAX_PAYLOAD_BYTES),
                folder,
            )
        except BundleError as error:
            raise Refusal(
                ErrorCode.INCOMPLETE, f"What came is not what was signed: {error}", "It is fetched anew."
            ) from None

    def _bundle(self, bundle: Bundle, tell: Callable[[Checked], None]) -> Prepared:
        from models.importing.isolated import prove

        self._digest = bundle.digest
        self._not_again(bundle.digest)
        if self._change.origin in ("install", "offer"):
            self._admit(bundle)
        tell(Checked(self._change.id, _info(bundle)))
        return self._kept(bundle, prove(bundle, cancelled=self._cancelled))

    def _model(self, path: Path) -> Prepared:
        from models.importing.isolated import import_file

        golden = self._store.load(self._store.factory)
        with self._store.workspace() as folder:
            imported = import_file(path, folder, golden=golden, cancelled=self._cancelled)
            self._digest = imported.bundle.digest
            self._not_again(self._digest)
            return self._kept(imported.bundle, imported.proof)

    def _kept(self, bundle: Bundle, proof: Proof) -> Prepared:
        self._store.add(bundle)
        score = Score(accuracy=proof.accuracy, latency_ms=proof.latency_ms)
        return Prepared(self._change.id, self._source, _info(bundle), score, bundle.manifest.peculiarities)

    def _admit(self, bundle: Bundle) -> None:
        from models.bundle.keys import PublicKey, verify
        from models.bundle.manifest import admit

        verify(bundle, [PublicKey.parse(text) for text in self._terms.trusted])
        admit(
            bundle.manifest,
            car=self._terms.car,
            groups=self._terms.groups,
            now=known_time(self._now()),
            newest_release=self._releases.get(bundle.manifest.name),
        )

    def _not_again(self, digest: str) -> None:
        """What was refused, or fell back, is not tried again by itself; a command is somebody's will."""
        refusal = self._refused.get(digest)
        by_itself = self._change.origin in ("inbox", "offer") and not self._change.asked
        if by_itself and refusal is not None:
            raise Refusal(
                ErrorCode.REFUSED_BEFORE,
                f"{self._change.file or 'The offer'} was not taken before, and isn't tried again by itself "
                f"({refusal.reason}). {refusal.sentence}",
                "smartcar model import tries it all the same.",
            )


def _info(bundle: Bundle) -> ModelInfo:
    return ModelInfo(name=bundle.manifest.name, version=bundle.manifest.version, digest=bundle.digest)
