"""Fetching: what is wanted of the broker or a URL, what has come, and when to give up for a while.

One thing at a time, into one file. From a URL where there is one; where that fails, in chunks, from where the
file ends. A few chunks are wanted at a time, so that memory is bounded whatever the broker sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from messages.offers import chunk_count
from models.refusal import Reason, Refusal
from services.updater.ledger import Fetch, LedgerFile
from services.updater.partial import Partial

WINDOW = 4
"""Chunks wanted at a time."""
STALLED_S = 20.0
"""Without a chunk: they are wanted anew,"""
ROUNDS = 3
"""so often; then it waits."""
GRACE_S, SLOWEST = 60.0, 8 << 10
"""An attempt may take the first, and a second for so many bytes."""

log = logging.getLogger(__name__)


class Cancel(Protocol):
    """A download that goes on."""

    def cancel(self) -> None: ...


class StartDownload(Protocol):
    """Starts a Download; `finished` is called in the loop."""

    def __call__(
        self,
        url: str,
        path: Path,
        size: int,
        sha256: str,
        deadline_s: float,
        finished: Callable[[str], None],
    ) -> Cancel: ...


class Fetcher:
    """What is being fetched stands in the ledger; `changed` is called when more of it is there."""

    def __init__(
        self,
        root: Path,
        ledger: LedgerFile,
        start_download: StartDownload,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.partial = Partial(root)
        self.failure: Refusal | None = None
        """Why it waits; None while it goes on."""
        self.round = 0
        self._ledger, self._start_download = ledger, start_download
        self._clock, self._changed = clock, changed
        self._buffer: dict[int, bytes] = {}
        self._download: Cancel | None = None
        self._began = self._moved = 0.0
        self._rounds = 0
        self._whole = False

    @property
    def now(self) -> Fetch | None:
        """What is being fetched, or waits for another attempt."""
        return self._ledger.now.fetch

    @property
    def complete(self) -> bool:
        """Whether all of it is there. What it is, nobody has checked."""
        return self.now is not None and self._whole

    @property
    def percent(self) -> int:
        """How much of it is there."""
        return 0 if self.now is None else min(99, self.partial.length * 100 // self.now.size)

    @property
    def wanted(self) -> tuple[int, ...]:
        """The chunks that are wanted now."""
        fetch = self.now
        if fetch is None or self.failure is not None or self._download is not None or self._whole:
            return ()
        if not fetch.chunk_bytes:
            return ()
        first = self.partial.length // fetch.chunk_bytes
        last = min(first + WINDOW, chunk_count(fetch.size, fetch.chunk_bytes))
        return tuple(number for number in range(first, last) if number not in self._buffer)

    def begin(self, fetch: Fetch, files: dict[str, bytes]) -> None:
        """Fetch this; what was fetched before is forgotten. Raises Refusal: no_space."""
        self._halt()
        if self.now is not None and self.now.digest != fetch.digest:
            self.release()
        try:
            self.partial.open(fetch.digest, fetch.size, files)
        except Refusal as refusal:
            self.failure = refusal if self.now is not None else None
            raise
        if fetch != self.now:
            self._ledger.write(fetch=fetch)
        self._attempt()

    def recover(self, taken: set[Path]) -> None:
        """Go on with what was fetched when the process ended; folders in `taken` are in use."""
        fetch = self.now
        if fetch is None:
            self.partial.sweep(taken)
        elif self.partial.exists(fetch.digest) and self.partial.resume(fetch.digest):
            self._attempt()
        else:
            self.drop()

    def wait(self, refusal: Refusal) -> None:
        """Until it is begun again, from where it ended."""
        self._halt()
        self.failure = refusal

    def drop(self) -> None:
        """Forget it, and what has come of it."""
        self._halt()
        self.release()
        self.partial.sweep(set())

    def release(self) -> None:
        """It is another's now, with its folder."""
        self._whole = False
        self._ledger.write(fetch=None)

    def chunk(self, digest: str, number: int, content: bytes) -> None:
        """A chunk came; one that isn't wanted is passed over."""
        fetch = self.now
        if fetch is None or digest != fetch.digest or number not in self.wanted:
            return
        due = min(fetch.chunk_bytes, fetch.size - number * fetch.chunk_bytes)
        if len(content) != due:
            self._fail(Reason.INCOMPLETE, f"Chunk {number} has {len(content)} bytes where {due} are due.")
            return
        self._buffer[number] = content
        self._moved, self._rounds = self._clock(), 0
        try:
            self._write(fetch)
        except Refusal as refusal:
            self._fail(refusal.reason, str(refusal))
        self._changed()

    def tick(self) -> None:
        """Call a few times a second."""
        fetch = self.now
        if fetch is None or self.failure is not None or self._whole or self._download is not None:
            return
        now = self._clock()
        if now - self._began > GRACE_S + fetch.size / SLOWEST:
            self._fail(Reason.INCOMPLETE, f"Only {self.percent} % has come in {now - self._began:.0f} s.")
        elif now - self._moved > STALLED_S:
            self._moved = now
            self._rounds += 1
            self.round += 1
            if self._rounds >= ROUNDS:
                missing = ", ".join(str(number) for number in self.wanted)
                count = chunk_count(fetch.size, fetch.chunk_bytes)
                self._fail(Reason.INCOMPLETE, f"Of {count} chunks these don't come: {missing}.")
            self._changed()

    def stop(self) -> None:
        """The process ends; what has come stays."""
        self._halt()

    # how it is done

    def _attempt(self) -> None:
        fetch = self.now
        assert fetch is not None
        self.failure = None
        self._began = self._moved = self._clock()
        self._rounds = 0
        self.round += 1
        if self.partial.length > fetch.size:
            self.partial.empty()
        self._whole = self.partial.length == fetch.size and not fetch.url
        if fetch.url:
            attempt = self.round
            sha256 = fetch.digest if fetch.origin == "install" else ""
            deadline_s = GRACE_S + fetch.size / SLOWEST
            self._download = self._start_download(
                fetch.url,
                self.partial.path,
                fetch.size,
                sha256,
                deadline_s,
                lambda problem: self._downloaded(attempt, problem),
            )
        self._changed()

    def _downloaded(self, attempt: int, problem: str) -> None:
        fetch = self.now
        if fetch is None or self._download is None or attempt != self.round:
            return  # it was halted meanwhile
        self._download = None
        if not problem:
            self._whole = self.partial.length == fetch.size
        elif fetch.chunk_bytes:
            log.warning("%s can't be fetched (%s); its chunks are", fetch.url, problem)
            self._began = self._moved = self._clock()
            self._whole = self.partial.length == fetch.size
        else:
            self._fail(Reason.NOT_FETCHED, f"{fetch.url} can't be fetched: {problem}.")
        self._changed()

    def _write(self, fetch: Fetch) -> None:
        """Move what follows on the file's end from memory to the disk. Raises Refusal: no_space."""
        while True:
            number, skip = divmod(self.partial.length, fetch.chunk_bytes)
            content = self._buffer.pop(number, None)
            if content is None:
                break
            self.partial.append(content[skip:])
        self._whole = self.partial.length == fetch.size

    def _fail(self, reason: Reason | str, sentence: str) -> None:
        self._halt()
        self.failure = Refusal(reason, sentence)
        log.info("%s", sentence)
        self._changed()

    def _halt(self) -> None:
        self._buffer.clear()
        self.failure = None
        self._whole = False
        if self._download is not None:
            self._download.cancel()
            self._download = None
