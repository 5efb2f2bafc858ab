"""The journal: what must survive, written before it is sent. SQLite in WAL mode, one writer, any readers.

An appended entry survives the death of any process. It is on the disk within a second, so that is what a
power cut may take: flushing each entry before going on would hold up the writer's loop on an SD card.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from pathlib import Path

from messages.clock import CLOCK_WAS_SET
from messages.disk import make_private, why_not
from messages.journal_file import (
    COLUMNS,
    Damaged,
    JournalEntry,
    facts_of,
    is_damage,
    move_aside,
    newest,
    open_to_write,
    set_fact,
)
from messages.journal_flusher import DiskFlusher
from messages.journal_reader import JournalReader
from messages.journal_shelter import Waiting, shelter_left, take_shelter
from messages.lock import AlreadyOwned, OwnerLock

BACKLOG = 1000
"""Entries kept in memory while the disk refuses them."""
_CHECK_CAPS_EVERY = 1024
_CHECK_CAPS_S = 3600.0
_CAP_SLACK = 0.9
"""Beyond the cap, enough goes at once that it isn't reached again soon."""


class Journal:
    """A producer's own file. Used from one thread. Raises AlreadyOwned on opening.

    What the disk doesn't take waits in memory, at the start as later: `problem` says why, and `flush` tries
    again. `id` is made with the file, and a reader's cursor belongs to it; it is empty until then.
    `recovered_from` is where a damaged file has been moved to. `shelter` is a file elsewhere for what still
    waits when it is closed: the next to be opened takes it up.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_entries: int = 200_000,
        max_bytes: int = 64 << 20,
        max_age_s: float = 30 * 86400,
        keep_delivered: int = 0,
        shelter: Path | None = None,
    ) -> None:
        self.path = path
        self.id = ""
        self.problem = ""
        """Why the file takes nothing now, and what to do; empty where all is well."""
        self.recovered_from: Path | None = None
        self.backlog: deque[Waiting] = deque()
        self.lost = 0
        """Entries that fell out of the backlog: never written anywhere."""
        self.discarded_unsent = 0
        """Entries that went beyond a cap before they were delivered."""
        self._max_entries, self._max_bytes, self._max_age_s = max_entries, max_bytes, max_age_s
        self._keep_delivered = keep_delivered
        self._delivered = 0
        self._first_of_boot = 0
        self._appends = self._bytes_since_check = 0
        self._checked_at = time.monotonic()
        self._flusher = DiskFlusher(path.with_name(f"{path.name}-wal"))
        self._database: sqlite3.Connection | None = None
        self._lock: OwnerLock | None = None
        self._shelter = shelter
        try:
            self._start()
        except (sqlite3.Error, OSError) as error:
            self.problem = why_not(path, error)
        self.backlog.extend(shelter_left(shelter) if shelter is not None else ())
        self.flush()

    def append(self, topic: str, payload: bytes) -> int | None:
        """Write one entry; its number, or None where the disk refuses and it waits in the backlog."""
        self.backlog.append((topic, time.time(), payload))
        if len(self.backlog) > BACKLOG:
            self.backlog.popleft()
            self.lost += 1
        return self.flush()

    def flush(self) -> int | None:
        """Write what waits, in order; the newest number, or None where the disk refuses or nothing waits."""
        if not self.backlog and self._database is not None:
            return None
        try:
            number = self._write_backlog()
        except sqlite3.ProgrammingError:
            raise  # used from another thread, or after it was closed
        except (sqlite3.Error, OSError, AlreadyOwned) as error:
            self.problem = str(error) if isinstance(error, AlreadyOwned) else why_not(self.path, error)
            return None
        self.problem = ""
        if number is None:
            return None
        self._appends += len(self.backlog)
        self._bytes_since_check += sum(len(payload) for _, _, payload in self.backlog)
        self.backlog.clear()
        self._flusher.soon()
        if (
            self._appends >= _CHECK_CAPS_EVERY
            or self._bytes_since_check > self._max_bytes // 16
            or time.monotonic() - self._checked_at > _CHECK_CAPS_S
        ):
            self.enforce_caps()
        return number

    def prune(self, up_to: int) -> None:
        """The entries up to this number are delivered: forget them, but for the newest `keep_delivered`."""
        if self._database is None or up_to <= self._delivered:
            return
        try:
            with self._database as database:
                if up_to > newest(database):
                    return  # no cursor of this journal: the bridge compares the two before it announces one
                database.execute("DELETE FROM entries WHERE number <= ?", (up_to - self._keep_delivered,))
                set_fact(database, "delivered", str(up_to))
        except sqlite3.Error as error:
            self._failed(error)  # they stay until the next cursor, or the caps get them
            return
        self._delivered = up_to

    def enforce_caps(self) -> None:
        """Let the oldest go beyond the caps, unsent ones too, and count those."""
        self._appends = self._bytes_since_check = 0
        self._checked_at = time.monotonic()
        if self._database is None:
            return
        try:
            with self._database as database:
                oldest_kept = self._oldest_within_caps(database)
                sent = min(oldest_kept, self._delivered + 1)
                database.execute("DELETE FROM entries WHERE number < ?", (sent,))
                gone = database.execute("DELETE FROM entries WHERE number < ?", (oldest_kept,)).rowcount
                if gone:
                    set_fact(database, "discarded_unsent", str(self.discarded_unsent + gone))
        except sqlite3.Error as error:
            self._failed(error)  # tried again with later appends
            return
        self.discarded_unsent += gone

    def tail(self, topic: str, limit: int) -> list[JournalEntry]:
        """The newest entries of a topic, oldest first; none where they can't be read."""
        if self._database is None:
            return self._tail_of_old(topic, limit)
        try:
            rows = self._database.execute(
                f"SELECT {COLUMNS} FROM entries WHERE topic = ? ORDER BY number DESC LIMIT ?",
                (topic, limit),
            ).fetchall()
        except sqlite3.Error as error:
            self._failed(error)
            return []
        return [JournalEntry(*row) for row in reversed(rows)]

    def _tail_of_old(self, topic: str, limit: int) -> list[JournalEntry]:
        """From the file as it was left, which can't be opened to write."""
        reader = JournalReader(self.path)
        try:
            return [entry for entry in reader.tail(limit) if entry.topic == topic]
        finally:
            reader.close()

    def remember(self, name: str, value: str) -> None:
        """Keep a text beside the entries, for the next process; a disk that refuses it keeps the old one."""
        if self._database is None:
            return
        try:
            with self._database as database:
                set_fact(database, name, value)
        except sqlite3.Error as error:
            self._failed(error)

    def remembered(self, name: str) -> str:
        """What `remember` kept last under this name; empty where there is none."""
        if self._database is None:
            return ""
        try:
            return facts_of(self._database).get(name, "")
        except sqlite3.Error as error:
            self._failed(error)
            return ""

    def __len__(self) -> int:
        if self._database is None:
            return 0
        count: int = self._database.execute("SELECT count(*) FROM entries").fetchone()[0]
        return count

    def close(self) -> None:
        """Write what still waits and close."""
        self.flush()
        self._flusher.close()
        if self._database is not None:
            self._database.close()
        if self.backlog and self._shelter is not None:
            take_shelter(self._shelter, self.backlog)
        if self._lock is not None:
            self._lock.release()

    # opening

    def _start(self) -> None:
        """Open the file, a new one in place of a damaged one, and learn how it was left.

        Raises AlreadyOwned, sqlite3.Error, OSError.
        """
        if self._lock is None:
            make_private(self.path.parent)
            lock = self.path.with_name(self.path.name + ".lock")
            self._lock = OwnerLock(lock, f"the writer of {self.path}", "paths.state")
        try:
            self._learn(open_to_write(self.path))
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise  # the disk or the folder, not the file
            self.recovered_from = move_aside(self.path)
            self._learn(open_to_write(self.path))
        self.enforce_caps()

    def _learn(self, database: sqlite3.Connection) -> None:
        try:
            facts = facts_of(database)
            discarded, delivered = int(facts["discarded_unsent"]), int(facts["delivered"])
            self._first_of_boot = int(facts["first_of_boot"])
        except (KeyError, ValueError) as error:
            database.close()
            raise Damaged(f"a fact is not what it was: {error}") from error
        self.id = facts["id"]
        self.discarded_unsent += discarded
        self._delivered = delivered
        self._database = database

    def _failed(self, error: Exception) -> bool:
        """Whether another try may help, since the file was found to be damaged and was replaced."""
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # used from another thread, or after it was closed
        if not is_damage(error) or self._database is None:
            return False
        self._database.close()
        self._database = None  # opened by the next append, if not now
        try:
            self.recovered_from = move_aside(self.path)
            self._start()
        except (sqlite3.Error, OSError):
            return False
        return True

    # writing

    def _write_backlog(self) -> int | None:
        """As `flush`; into a new file where the old one is found to be damaged. Raises as `_start` does."""
        try:
            return self._write()
        except sqlite3.Error as error:
            if not self._failed(error):
                raise
            return self._write()

    def _write(self) -> int | None:
        if self._database is None:
            self._start()
        assert self._database is not None
        cursor = None
        with self._database as database:
            for topic, wall, payload in self.backlog:
                cursor = database.execute(
                    "INSERT INTO entries (topic, wall, payload) VALUES (?, ?, ?)", (topic, wall, payload)
                )
        return cursor.lastrowid if cursor is not None else None

    # caps

    def _oldest_within_caps(self, database: sqlite3.Connection) -> int:
        """The number of the first entry to keep."""
        one = database.execute
        count, size = one("SELECT count(*), coalesce(sum(length(payload)), 0) FROM entries").fetchone()
        keep = self._oldest_within_age(database)
        if count > self._max_entries:
            excess = count - self._max_entries
            row = one("SELECT number FROM entries ORDER BY number LIMIT 1 OFFSET ?", (excess,)).fetchone()
            keep = max(keep, row[0] if row else newest(database) + 1)
        if size > self._max_bytes:
            for number, length in one("SELECT number, length(payload) FROM entries ORDER BY number"):
                if size <= self._max_bytes * _CAP_SLACK:
                    break
                size -= length
                keep = max(keep, number + 1)
        return int(keep)

    def _oldest_within_age(self, database: sqlite3.Connection) -> int:
        """The same for age alone. The clock may have been set in between, by years, so it isn't believed
        before CLOCK_WAS_SET, nor that an entry is older than the machine has been running since.
        """
        now = time.time()
        if now < CLOCK_WAS_SET:
            return 0
        runs_long = time.clock_gettime(time.CLOCK_BOOTTIME) > self._max_age_s
        row = database.execute(
            "SELECT number FROM entries WHERE wall >= ? OR wall < ? OR number >= ? ORDER BY number LIMIT 1",
            (now - self._max_age_s, CLOCK_WAS_SET, (1 << 62) if runs_long else self._first_of_boot),
        ).fetchone()
        return int(row[0]) if row else newest(database) + 1
