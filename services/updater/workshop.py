"""From a file to a tested bundle in the store: what takes long, in a thread and in throw-away processes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from messages import durable
from messages.vision import ModelInfo
from models.bundle.bundle import Bundle, BundleError
from models.refusal import Reason, Refusal
from models.store import Store
from services.updater.ledger import Change, Score, Verdict

CLOCK_WAS_SET = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""A clock that shows an earlier time was never set: a Raspberry Pi has none that runs on without power."""

PAYLOAD_FILE = "payload"
"""What is fetched of an offer, beside its manifest and signature."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A bundle that is in the store and has passed its golden test."""

    source: str
    model: ModelInfo
    release: int
    score: Score


@dataclass(frozen=True)
class Rejected:
    """Why there is none; `source` and `digest` as far as they were known."""

    refusal: Refusal
    source: str = ""
    digest: str = ""


class Heard(Protocol):
    """What is told while work goes on. Called in the loop."""

    def checked(self, change: Change, model: ModelInfo | None) -> None: ...

    def prepared(self, change: Change, outcome: Prepared | Rejected) -> None: ...

    def scored(self, digest: str, score: Score | None) -> None: ...


@dataclass(frozen=True)
class Terms:
    """What a bundle from elsewhere must keep to."""

    car: str
    groups: Collection[str] = ()
    trusted: tuple[str, ...] = ()
    """Public keys, each as its line of text."""


class Workshop:
    """One thread that takes one job after the other. `call_soon` brings what it says into the loop."""

    def __init__(self, store: Store, terms: Terms, call_soon: Callable[[Callable[[], None]], None]) -> None:
        self._store, self._terms, self._call_soon = store, terms, call_soon
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="workshop", daemon=True)
        self._thread.start()

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, Verdict],
        releases: Mapping[str, int],
        heard: Heard,
    ) -> None:
        """Make of the change's file a tested bundle in the store. `content` is first written to the file."""

        def job() -> None:
            outcome = self._outcome(change, content, refused, releases, heard)
            if not self._stopping:
                self._call_soon(lambda: heard.prepared(change, outcome))

        self._jobs.put(job)

    def score(self, digest: str, heard: Heard) -> None:
        """Measure a model of the store on the car's golden digits."""

        def job() -> None:
            score = None
            try:
                score = self._score(self._store.load(digest))
            except Refusal as refusal:
                log.info("model %s can't be measured: %s", digest[:12], refusal)
            except Exception:  # no process to be had, say: the next job may find one
                log.exception("measuring model %s", digest[:12])
            if not self._stopping:
                self._call_soon(lambda: heard.scored(digest, score))

        self._jobs.put(job)

    def close(self) -> None:
        """End the thread, and whatever process it waits for."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join(5.0)

    # in the thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopping:
            job()

    def _outcome(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, Verdict],
        releases: Mapping[str, int],
        heard: Heard,
    ) -> Prepared | Rejected:
        work = Work(self._store, self._terms, change, refused, releases, lambda: self._stopping)

        def checked(model: ModelInfo | None) -> None:
            self._call_soon(lambda: heard.checked(change, model))

        try:
            return work.done(content, checked)
        except Refusal as refusal:
            return Rejected(refusal, work.source, work.digest)
        except Exception as error:  # one strange file is not to stop the updater
            log.exception("preparing %s", change.file)
            sentence = f"Taking {change.file} failed in a way nobody foresaw: {error}"
            return Rejected(Refusal(Reason.CRASHED, sentence), work.source, work.digest)

    def _score(self, bundle: Bundle) -> Score:
        from models.bundle.manifest import INBOX_TERMS
        from models.importing.isolated import prove

        lenient = INBOX_TERMS.model_copy(update={"accuracy": 0.0, "latency_ms": 1e9})
        proof = prove(
            bundle,
            golden=self._store.load(self._store.factory),
            terms=lenient,
            cancelled=lambda: self._stopping,
        )
        return Score(accuracy=proof.accuracy, latency_ms=proof.latency_ms)


class Work:
    """On one change."""

    def __init__(
        self,
        store: Store,
        terms: Terms,
        change: Change,
        refused: Mapping[str, Verdict],
        releases: Mapping[str, int],
        cancelled: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._terms, self._change, self._now = store, terms, change, now
        self._refused, self._releases, self._cancelled = refused, releases, cancelled
        self.source = self.digest = ""

    def done(self, content: bytes | None, checked: Callable[[ModelInfo | None], None]) -> Prepared:
        """Raises Refusal."""
        from models.importing.isolated import intake, source_digest

        path = Path(self._change.path)
        if self._change.origin == "offer":
            self.source = self._change.source
            return self._taken(self._offered(path), checked)
        if content is not None:
            receive(path, content)
        kind = intake(path)
        self.source = source_digest(path)
        self._not_again(self.source)
        if kind == "bundle":
            return self._bundle(path, checked)
        if self._change.origin == "install":
            raise Refusal(
                Reason.UNKNOWN_FORMAT,
                f"{self._change.file} is no bundle. Only a signed bundle is installed; "
                "a model file goes into the car's data folder.",
            )
        checked(None)
        return self._model(path)

    def _bundle(self, path: Path, checked: Callable[[ModelInfo | None], None]) -> Prepared:
        from models.bundle.archive import read_archive

        return self._taken(read_archive(path), checked)

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
                Reason.INCOMPLETE, f"What came is not what was signed; it is fetched anew. ({error})"
            ) from None

    def _taken(self, bundle: Bundle, checked: Callable[[ModelInfo | None], None]) -> Prepared:
        from models.importing.isolated import prove

        self.digest = bundle.digest
        self._not_again(bundle.digest)
        if self._change.origin in ("install", "offer"):
            self._admitted(bundle)
        checked(_info(bundle))
        proof = prove(bundle, cancelled=self._cancelled)
        self._store.add(bundle)
        score = Score(accuracy=proof.accuracy, latency_ms=proof.latency_ms)
        return Prepared(self.source, _info(bundle), bundle.manifest.release, score)

    def _model(self, path: Path) -> Prepared:
        from models.importing.isolated import import_file

        golden = self._store.load(self._store.factory)
        with self._store.workspace() as folder:
            imported = import_file(path, folder, golden=golden, cancelled=self._cancelled)
            bundle, proof = imported.bundle, imported.proof
            self.digest = bundle.digest
            self._not_again(bundle.digest)
            self._store.add(bundle)
        score = Score(accuracy=proof.accuracy, latency_ms=proof.latency_ms)
        return Prepared(self.source, _info(bundle), bundle.manifest.release, score)

    def _admitted(self, bundle: Bundle) -> None:
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
        verdict = self._refused.get(digest)
        by_itself = self._change.origin in ("inbox", "offer") and not self._change.asked
        if by_itself and verdict is not None:
            raise Refusal(
                Reason.REFUSED_BEFORE,
                f"{self._change.file or 'The offer'} was not taken before, and isn't tried again by itself "
                f"({verdict.reason}: {verdict.sentence}) smartcar model import tries it all the same.",
            )


def known_time(seconds: float) -> datetime | None:
    """The time that a clock shows; None for one that was never set."""
    return datetime.fromtimestamp(seconds, UTC) if seconds > CLOCK_WAS_SET else None


def receive(path: Path, content: bytes) -> None:
    """Write what came with a command to its file: it is there whole, or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    durable.write_file(part, content, 0o640)
    durable.rename(part, path)


def _info(bundle: Bundle) -> ModelInfo:
    return ModelInfo(name=bundle.manifest.name, version=bundle.manifest.version, digest=bundle.digest)
