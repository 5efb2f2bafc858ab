"""Fetching: what is wanted of the broker or a URL, what has come, and when to give up for a while.

One thing at a time, into one file. From a URL where there is one; where that fails, in chunks, from where the
file ends. A few chunks are wanted at a time, so that memory is bounded whatever the broker sends.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from messages.errors import ErrorCode
from messages.offers import chunk_count
from messages.text import escaped
from models.refusal import Refusal
from services.updater.download import Partial
from services.updater.state import Change, Fetch, StateFile

WINDOW = 4
"""Chunks wanted at a time."""
STALLED_S = 20.0
"""Chunks are wanted anew when none has come for so long."""
ROUNDS = 3
"""After so many rounds without a chunk the fetching waits."""
GRACE_S, SLOWEST = 60.0, 8 << 10
"""An attempt may take GRACE_S seconds, and one second more for each SLOWEST bytes that have come in it."""
FIRST_S, LONGEST_S = 5.0, 600.0
"""What failed is tried again after FIRST_S seconds, then twice as long each time, up to LONGEST_S."""

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
    """What is being fetched stands in the state file."""

    def __init__(
        self,
        root: Path,
        state: StateFile,
        start_download: StartDownload,
        clock: Callable[[], float],
    ) -> None:
        self.partial = Partial(root)
        self.failure: Refusal | None = None
        """Why it waits; None while it goes on."""
        self.round = 0
        self._state, self._start_download = state, start_download
        self._clock = clock
        self._buffer: dict[int, bytes] = {}
        self._download: Cancel | None = None
        self._began = self._moved = 0.0
        self._had = 0
        """Bytes that were there when the attempt began."""
        self._rounds = 0
        self._whole = False

    @property
    def now(self) -> Fetch | None:
        """What is being fetched, or waits for another attempt."""
        return self._state.now.fetch

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
            self._state.write(fetch=fetch)
        self._attempt()

    def recover(self, taken: set[Path]) -> None:
        """Go on with what was fetched when the process ended; folders in `taken` are in use."""
        fetch = self.now
        if fetch is None:
            self.partial.sweep(taken)
        elif self.partial.resume(fetch.digest):
            self._attempt()
        else:
            self.drop()

    def wait(self, refusal: Refusal) -> None:
        """Until it is begun again, from where it ended."""
        self._halt()
        self.failure = refusal

    def drop(self) -> None:
        self._halt()
        self.release()
        self.partial.sweep(set())

    def release(self) -> None:
        """It is another's now, with its folder."""
        self._whole = False
        self._state.write(fetch=None)

    def chunk(self, digest: str, number: int, content: bytes) -> None:
        """A chunk came; one that isn't wanted is passed over."""
        fetch = self.now
        if fetch is None or digest != fetch.digest or number not in self.wanted:
            return
        due = min(fetch.chunk_bytes, fetch.size - number * fetch.chunk_bytes)
        if len(content) != due:
            self._fail(ErrorCode.INCOMPLETE, f"Chunk {number} has {len(content)} bytes where {due} are due.")
            return
        self._buffer[number] = content
        self._moved, self._rounds = self._clock(), 0
        try:
            self._write(fetch)
        except Refusal as refusal:
            self._fail(refusal.reason, str(refusal))

    def tick(self) -> None:
        """Call about once a second. Whoever asked for it and whatever it comes from, it must come on."""
        fetch = self.now
        if fetch is None or self.failure is not None or self._whole:
            return
        now = self._clock()
        is_slow = now - self._began > GRACE_S + (self.partial.length - self._had) / SLOWEST
        slow = f"Only {self.percent} % has come in {now - self._began:.0f} s."
        if self._download is not None:
            if is_slow:
                self._download.cancel()
                self._downloaded(self.round, slow.removesuffix("."))
        elif is_slow:
            self._fail(ErrorCode.INCOMPLETE, slow)
        elif now - self._moved > STALLED_S:
            self._moved = now
            self._rounds += 1
            self.round += 1
            if self._rounds >= ROUNDS:
                missing = ", ".join(str(number) for number in self.wanted)
                count = chunk_count(fetch.size, fetch.chunk_bytes)
                self._fail(ErrorCode.INCOMPLETE, f"Of {count} chunks these don't come: {missing}.")

    def change(self, fetch: Fetch) -> Change:
        is_zip = fetch.origin == "install"
        return Change(
            id=fetch.id,
            origin=fetch.origin,
            file="bundle.zip" if is_zip else "",
            path=escaped(self.partial.path if is_zip else self.partial.folder),
            source="" if is_zip else fetch.digest,
            activate=fetch.activate,
            asked=fetch.asked,
        )

    def stop(self) -> None:
        """The process ends; what has come stays."""
        self._halt()

    # how it is done

    def _attempt(self) -> None:
        fetch = self.now
        assert fetch is not None
        self.failure = None
        self._began = self._moved = self._clock()
        self._rounds, self._had = 0, self.partial.length
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
            self._had = self.partial.length
            self._whole = self.partial.length == fetch.size
        else:
            self._fail(ErrorCode.NOT_FETCHED, f"{fetch.url} can't be fetched: {problem}.")

    def _write(self, fetch: Fetch) -> None:
        """Move what follows on the file's end from memory to the disk. Raises Refusal: no_space."""
        while True:
            number, skip = divmod(self.partial.length, fetch.chunk_bytes)
            content = self._buffer.pop(number, None)
            if content is None:
                break
            self.partial.append(content[skip:])
        self._whole = self.partial.length == fetch.size

    def _fail(self, reason: ErrorCode | str, sentence: str) -> None:
        self._halt()
        self.failure = Refusal(reason, sentence)
        log.info("%s", sentence)

    def _halt(self) -> None:
        self._buffer.clear()
        self.failure = None
        self._whole = False
        if self._download is not None:
            self._download.cancel()
            self._download = None


@dataclass
class _Retry:
    refusal: Refusal
    delay_s: float
    due: float
    waiting: bool = True


class Retries:
    """What is tried again by itself: later each time, and not by all cars at once. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._all: dict[str, _Retry] = {}

    def add(self, key: str, refusal: Refusal) -> None:
        """It went wrong, again perhaps."""
        last = self._all.get(key)
        delay_s = FIRST_S if last is None else min(LONGEST_S, 2 * last.delay_s)
        told = Refusal(refusal.reason, str(refusal), "It is tried again by itself.")
        self._all[key] = _Retry(told, delay_s, self._clock() + delay_s * random.uniform(0.8, 1.2))

    def waiting(self, key: str) -> Refusal | None:
        """What went wrong, while it isn't time yet."""
        retry = self._all.get(key)
        return retry.refusal if retry is not None and retry.waiting else None

    def come_due(self) -> bool:
        """Whether it is time for any since the last call."""
        now, any_due = self._clock(), False
        for retry in self._all.values():
            if retry.waiting and retry.due <= now:
                retry.waiting, any_due = False, True
        return any_due

    def forget(self, key: str) -> None:
        self._all.pop(key, None)

    def clear(self) -> None:
        """Something was put right, perhaps."""
        self._all.clear()
