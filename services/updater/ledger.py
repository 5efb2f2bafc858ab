"""What the updater must know after any crash: one small file, replaced whole."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from messages import durable
from messages.disk import make_private, why_not
from messages.models import Origin, Step

MOST_VERDICTS = 200
MOST_FILES = 500
MOST_SCORES = 100
MOST_ENDED = 64
MOST_NOTES = 64

Kept = TypeVar("Kept")

log = logging.getLogger(__name__)


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Change(Entry):
    """A change of the active model that was begun and has not ended."""

    id: str
    origin: Origin
    file: str = ""
    """The name of the file it came as."""
    path: str = ""
    """Where that file lies; empty for a model of the store."""
    source: str = ""
    """SHA-256 of the file, once it was looked at."""
    digest: str = ""
    """The model's, once it is in the store."""
    step: Step = "received"
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


class Fetch(Entry):
    """What is being fetched: the payload of an offer, or a bundle's zip at a URL."""

    id: str
    """Of the change that it becomes."""
    origin: Origin
    name: str = ""
    """Of the offer."""
    digest: str
    """An offer's; the SHA-256 of a zip."""
    size: int
    """Bytes in all."""
    chunk_bytes: int = 0
    """0: it doesn't come in chunks."""
    url: str = ""
    asked: bool = False
    activate: bool = True


class Note(Entry):
    """What is remembered of the offers of a name."""

    taken: str = ""
    """The digest of the one that was active last."""
    digest: str = ""
    """Of the one that was told last not to be taken,"""
    reason: str = ""
    """and why."""


class Verdict(Entry):
    """Why a file or model is not tried again by itself."""

    reason: str
    sentence: str
    at: datetime


class Score(Entry):
    """How a model did on this car, and how it came here."""

    accuracy: float
    latency_ms: float


class Seen(Entry):
    """A file of the data folder as it was when it was taken or refused."""

    size: int
    changed_ns: int
    inode: int


class Ledger(Entry):
    """All of it. What it holds of the past is capped: the oldest goes."""

    pinned: bool = False
    change: Change | None = None
    fetch: Fetch | None = None
    offers: dict[str, Note] = {}
    """By name."""
    refused: dict[str, Verdict] = {}
    """By the SHA-256 of a file, and by the digest of a model."""
    files: dict[str, Seen] = {}
    """By name, in the data folder."""
    origins: dict[str, tuple[Origin, str]] = {}
    """By digest: how a model came, and as which file."""
    scores: dict[str, Score] = {}
    """By digest."""
    releases: dict[str, int] = {}
    """By name: the newest release that was active."""
    ended: dict[str, tuple[Step, str]] = {}
    """By change: how it ended, and with which digest."""


class LedgerFile:
    """The ledger and its file.

    What the disk refuses is kept in memory and written by `flush`; `problem` says why. While the file can't
    be read, nothing takes its place: what is written meanwhile is forgotten when it can be. A damaged one is
    kept as `damaged`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = Ledger()
        self.problem = ""
        self.damaged: Path | None = None
        self._is_read = False
        self.flush()

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self._path.parent

    def write(self, **changed: Any) -> None:
        """Replace some of it."""
        self.now = self.now.model_copy(update={name: _capped(name, value) for name, value in changed.items()})
        self.flush()

    def flush(self) -> None:
        """Put it on the disk, whole."""
        new = self._path.with_suffix(".new")
        try:
            if not self._is_read:
                make_private(self._path.parent)
                self.now = self._read()
                self._is_read = True
            new.unlink(missing_ok=True)
            durable.write_file(new, self.now.model_dump_json().encode(), 0o640)
            durable.rename(new, self._path)
        except OSError as error:
            self.problem = why_not(self._path, error)
        else:
            self.problem = ""

    def _read(self) -> Ledger:
        try:
            return Ledger.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Ledger()
        except ValidationError as error:
            damaged = self._path.with_suffix(".damaged")
            self._path.replace(damaged)
            self.damaged = damaged
            log.error("%s was damaged and is begun anew: %s", self._path, error.errors()[0]["msg"])
            return Ledger()


_CAPS = {
    "refused": MOST_VERDICTS,
    "files": MOST_FILES,
    "origins": MOST_SCORES,
    "scores": MOST_SCORES,
    "ended": MOST_ENDED,
    "offers": MOST_NOTES,
}


def _capped(name: str, value: Any) -> Any:
    return _newest(value.items(), _CAPS[name]) if name in _CAPS else value


def _newest(items: Iterable[tuple[str, Kept]], most: int) -> dict[str, Kept]:
    return dict([*items][-most:])
