"""What the updater must know after any crash, in one small file, and what it says of models and changes.

state = StateFile(folder / "ledger.json")
state.commit(pinned=True)    # on the disk, or Refusal and nothing has changed
state.write(scores=scores)   # kept in memory where the disk refuses it, and written later
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from messages import durable
from messages.disk import is_full, make_private, why_not
from messages.errors import ErrorCode
from messages.models import ENDED, PERCENT, ModelProgress, Origin, Share, Step
from messages.offers import MAX_CHUNK_BYTES, Digest
from messages.text import printable, unescaped
from messages.vision import ModelInfo
from models.bundle.manifest import Manifest
from models.refusal import Refusal
from models.store import Store

log = logging.getLogger(__name__)


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Outcome(Record):
    """How a change ended without a new active model."""

    step: Step
    reason: str = ""
    sentence: str = ""
    blamed: tuple[str, ...] = ()
    """The SHA-256 of the file and the digest of the model that are not to be tried again by themselves."""
    again: bool = False
    """Whatever kept the file out may pass: it is taken another time."""


class Change(Record):
    """A change of the active model that was begun and has not ended."""

    id: str
    origin: Origin
    file: str = ""
    """The name of the file it came as, for people."""
    path: str = ""
    """Where that file lies, as `escaped` writes it; empty for a model of the store."""
    upload: str = ""
    """Where it was uploaded to, and goes back to where it may be taken another time."""
    source: str = ""
    """SHA-256 of the file, once it was looked at."""
    digest: str = ""
    """The model's, once it is in the store."""
    step: Literal["received", "checked", "tested", "waiting", "trial"] = "received"
    attempt: int = 1
    on_trial: bool = True
    """A rollback needs none: the model was active before."""
    activate: bool = True
    pins: bool = False
    """Done by hand: from then on nothing else changes the active model."""
    stopped: bool = False
    """The updater was stopped cleanly: beginning again is no new attempt."""
    asked: bool = False
    """Somebody asked for just this one: a pin, or an earlier refusal, doesn't keep it out."""
    outcome: Outcome | None = None
    """Decided, and perhaps not told yet."""

    @field_validator("path")
    @classmethod
    def _names_a_file(cls, path: str) -> str:
        if "\0" in unescaped(path):
            raise ValueError("no path has a null byte in it")
        return path

    @property
    def location(self) -> Path:
        """Where its file lies."""
        return Path(unescaped(self.path))


class Fetch(Record):
    """What is being fetched: the payload of an offer, or a bundle's zip at a URL."""

    id: str
    """Of the change that it becomes."""
    origin: Origin
    name: str = ""
    """Of the offer."""
    digest: Digest
    """An offer's; the SHA-256 of a zip."""
    size: Annotated[int, Field(ge=1)]
    """Bytes in all."""
    chunk_bytes: Annotated[int, Field(ge=0, le=MAX_CHUNK_BYTES)] = 0
    """0: it doesn't come in chunks."""
    url: str = ""
    asked: bool = False
    activate: bool = True


class OfferNote(Record):
    """What is remembered of the offers of a name."""

    taken: str = ""
    """The digest of the offer that was active last."""
    digest: str = ""
    """The digest of the offer that was last told not to be taken."""
    reason: str = ""
    """Why that one was not taken."""


class PastRefusal(Record):
    """Why a file or model is not tried again by itself."""

    reason: str
    sentence: str
    at: datetime

    @classmethod
    def now(cls, reason: str, sentence: str) -> PastRefusal:
        """Just refused."""
        return cls(reason=reason, sentence=sentence, at=datetime.now(UTC))

    @property
    def refusal(self) -> Refusal:
        """The same again; its code may be of another version of smartcar."""
        known = self.reason in set(ErrorCode)
        reason = self.reason if known else ErrorCode.REFUSED_BEFORE
        return Refusal(reason, self.sentence, "It is not tried again by itself.")


class Score(Record):
    """How a model did on the car's golden digits."""

    accuracy: Share
    latency_ms: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class FileStamp(Record):
    """A file of the data folder as it was when it was taken or refused."""

    size: int
    changed_ns: int
    inode: int


class UpdaterState(Record):
    """All of it. What it holds of the past is capped: the oldest goes."""

    pinned: bool = False
    change: Change | None = None
    fetch: Fetch | None = None
    offers: dict[str, OfferNote] = {}
    """By name."""
    refused: dict[str, PastRefusal] = {}
    """By the SHA-256 of a file, and by the digest of a model."""
    files: dict[str, FileStamp] = {}
    """By name in the data folder, as `escaped` writes it; a name goes when its file has gone."""
    origins: dict[str, tuple[Origin, str]] = {}
    """By digest: how a model came, and as which file."""
    scores: dict[str, Score] = {}
    """By digest."""
    releases: dict[str, int] = {}
    """By name: the newest release that was active."""
    ended: dict[str, tuple[Step, str]] = {}
    """By change: how it ended, and with which digest."""


_MOST = {"refused": 200, "origins": 100, "scores": 100, "ended": 64, "offers": 64}


class StateFile:
    """The state and its file; `problem` says why the disk doesn't take it.

    While the file can't be read, nothing takes its place: what is written meanwhile is forgotten when it can.
    One that is no JSON is kept as `damaged`; of one that another version of smartcar wrote, what this one
    understands is taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = UpdaterState()
        self.problem = ""
        self.damaged: Path | None = None
        self._is_read = False
        self.flush()

    def write(self, **changed: Any) -> None:
        """Replace some of it; what the disk refuses is kept in memory, and `flush` writes it."""
        self.now = self.now.model_copy(update={name: _capped(name, value) for name, value in changed.items()})
        self.flush()

    def commit(self, **changed: Any) -> None:
        """Replace some of it on the disk. Raises Refusal (no_space, store_damaged): nothing has changed."""
        before = self.now
        self.write(**changed)
        if self.problem:
            refusal, coming = self.refusal(self.problem), self.now
            self.now = before
            self.flush()  # the disk may have taken the new one, and failed after that
            if not (self.problem and self._holds(coming)):
                raise refusal
            self.now = coming  # it can't be undone: so it is done

    def refusal(self, problem: str) -> Refusal:
        """Why no model can be changed."""
        reason = ErrorCode.NO_SPACE if is_full(self._path.parent) else ErrorCode.STORE_DAMAGED
        return Refusal(reason, f"No model can be changed: {problem}.")

    def flush(self) -> None:
        """Put it on the disk, whole."""
        try:
            if not self._is_read:
                make_private(self._path.parent)
                self.now = self._read()
                self._is_read = True
            durable.replace_file(self._path, self.now.model_dump_json().encode())
        except OSError as error:
            self.problem = why_not(self._path, error)
        else:
            self.problem = ""

    def _holds(self, state: UpdaterState) -> bool:
        with suppress(OSError):
            return self._path.read_bytes() == state.model_dump_json().encode()
        return False

    def _read(self) -> UpdaterState:
        try:
            content = json.loads(self._path.read_bytes())
            if not isinstance(content, dict):
                raise ValueError("it is no JSON object")
        except FileNotFoundError:
            return UpdaterState()
        except (ValueError, RecursionError) as error:
            self.damaged = self._path.with_suffix(".damaged")
            self._path.replace(self.damaged)
            log.error("%s was damaged and is begun anew: %s", self._path, error)
            return UpdaterState()
        return _understood(content)


def _understood(content: dict[str, Any]) -> UpdaterState:
    """Each field, and each entry of a table, that this version of smartcar understands."""
    taken: dict[str, Any] = {}
    for name, value in content.items():
        is_table = isinstance(getattr(UpdaterState(), name, None), dict) and isinstance(value, dict)
        for part in [{key: each} for key, each in value.items()] if is_table else [value]:
            try:
                read = getattr(UpdaterState.model_validate_json(json.dumps({name: part})), name, None)
            except ValidationError as error:  # of another version of smartcar
                log.warning("of the updater's state %s can't be read: %s", name, error.errors()[0]["msg"])
                continue
            if is_table:
                taken.setdefault(name, {}).update(read)
            elif read is not None:
                taken[name] = read
    return UpdaterState().model_copy(update=taken)


def _capped(name: str, value: Any) -> Any:
    return dict([*value.items()][-_MOST[name] :]) if name in _MOST else value


class ModelStatus:
    """Names models, and puts into words how a change is going, from what the store and the state know."""

    def __init__(self, store: Store, state: StateFile) -> None:
        self.store, self.state_file = store, state
        self._infos: dict[str, ModelInfo] = {}

    def info(self, digest: str, manifest: Manifest | None = None) -> ModelInfo:
        """What a model of the store is called; its digest alone where its manifest can't be read."""
        if digest not in self._infos:
            try:
                manifest = manifest or self.store.load(digest).manifest
            except Refusal:
                return ModelInfo(name=digest[:12], version="?", digest=digest)
            self._infos[digest] = ModelInfo(name=manifest.name, version=manifest.version, digest=digest)
        return self._infos[digest]

    def title(self, digest: str) -> str:
        """Name and version, for people."""
        info = self.info(digest)
        return f"{info.name} {info.version}"

    def pinned(self, what: str) -> Refusal:
        """Why nothing from elsewhere replaces the active model."""
        active = self.title(self.store.active)
        return Refusal(
            ErrorCode.PINNED, f"{active} is pinned.", f"smartcar model unpin lets {what} replace it."
        )

    def releases_with(self, digest: str) -> dict[str, int]:
        """The newest release of each name, that model's counted."""
        releases = self.state_file.now.releases
        try:
            manifest = self.store.load(digest).manifest
        except Refusal:
            return releases
        return releases | {manifest.name: max(manifest.release, releases.get(manifest.name, 0))}

    def progress(
        self, change: Change, step: Step, model: ModelInfo | None = None, reason: str = "", sentence: str = ""
    ) -> ModelProgress:
        """A step of the change, with the scores of both models as far as they are known."""
        scores = self.state_file.now.scores
        replaced = self.store.previous if step == "active" else self.store.active
        score, old = scores.get(change.digest), scores.get(replaced or "")
        if model is None and change.digest in self.store.digests:
            model = self.info(change.digest)
        return ModelProgress(
            change=change.id,
            step=step,
            percent=100 if step in ENDED else PERCENT[step],
            origin=change.origin,
            file=change.file,
            model=model,
            accuracy=score.accuracy if score else None,
            latency_ms=round(score.latency_ms, 3) if score else None,
            replaced=self.info(replaced) if replaced is not None else None,
            replaced_accuracy=old.accuracy if old else None,
            attempt=change.attempt,
            reason=reason,
            sentence=printable(sentence, 2000),
        )

    def comparison(self, digest: str) -> str:
        """The new active model and the one before it, in a sentence or two."""
        scores, before = self.state_file.now.scores, self.store.previous
        new, old = scores.get(digest), scores.get(before or "")
        sentence = f"The car reads with {self.title(digest)} now."
        if new is None or old is None or before is None:
            return sentence
        return (
            f"{sentence} It reads {new.accuracy:.1%} of the golden digits; "
            f"{self.title(before)} before it {old.accuracy:.1%}."
        )
