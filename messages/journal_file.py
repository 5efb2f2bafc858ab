"""A journal's SQLite file: opened, checked, and moved aside where it is damaged."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path

COLUMNS = "number, CAST(topic AS TEXT), CAST(payload AS BLOB), CAST(wall AS REAL)"
"""An entry's fields. A flipped bit on the disk may have changed a type: readers never see another one."""

_KEPT_CORRUPT = 2
_OPEN_BUSY_S = 2.0
_BUSY_MS = 50
"""The writer's loop waits no longer for the file."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY AUTOINCREMENT, "
    "topic TEXT NOT NULL, wall REAL NOT NULL, payload BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "SELECT number, topic, wall, payload FROM entries LIMIT 0",
)


@dataclass(frozen=True)
class JournalEntry:
    """One event. `number` counts up from 1 and is never used again; `wall` is Unix time in seconds."""

    number: int
    topic: str
    payload: bytes
    wall: float


class Damaged(sqlite3.DatabaseError):
    """The file is no journal, or no longer one."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open or make the file; it has its id then. Raises sqlite3.Error: see `is_damage`."""
    database = sqlite3.connect(path, timeout=_OPEN_BUSY_S)
    try:
        database.text_factory = as_text
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA wal_autocheckpoint=256")
        database.execute(f"PRAGMA journal_size_limit={1 << 20}")
        with database:
            # In one transaction: a reader sees the file with its id or none.
            database.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                database.execute(statement)
            _sign(database)
        # Takes long, so after what a disk that takes nothing refuses: that is tried again and again.
        problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise Damaged(problem)
        database.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    except sqlite3.OperationalError as error:
        database.close()
        if _code(error) == sqlite3.SQLITE_ERROR:  # another program's tables
            raise Damaged(str(error)) from error
        raise
    except BaseException:
        database.close()
        raise
    return database


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal that another process may write. Raises sqlite3.Error, here or at the first query."""
    return _connect(path, "mode=ro")


def open_at_rest(path: Path) -> sqlite3.Connection:
    """The same for a journal on a disk that takes nothing, where SQLite can't make what it would notice a
    writer by. What a writer adds later is not seen.
    """
    return _connect(path, "immutable=1")


def _connect(path: Path, how: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=_OPEN_BUSY_S)
    database.text_factory = as_text
    return database


def facts_of(database: sqlite3.Connection) -> dict[str, str]:
    return dict(database.execute("SELECT name, value FROM facts"))


def set_fact(database: sqlite3.Connection, name: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def newest(database: sqlite3.Connection) -> int:
    """The highest number ever given."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return int(row[0]) if row else 0


def as_text(value: bytes) -> str:
    """Text as it lies on the disk, which may be damaged."""
    return value.decode(errors="replace")


def move_aside(path: Path) -> Path:
    """Keep a damaged file for whoever wants to look, but not many of them. Returns where it is now."""
    for companion in ("-shm", "-wal", ""):  # the file last: without it, what is left of it means nothing
        names = [
            path.with_name(f"{path.name}.corrupt-{number}{companion}")
            for number in range(1, _KEPT_CORRUPT + 1)
        ]
        for younger, older in zip(names[-2::-1], names[:0:-1], strict=True):
            older.unlink(missing_ok=True)
            if younger.exists():
                younger.replace(older)
        here = path.with_name(path.name + companion)
        if here.exists():
            here.replace(names[0])
    return path.with_name(f"{path.name}.corrupt-1")


def is_damage(error: Exception) -> bool:
    """Whether another file would help."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: Exception) -> int:
    """SQLite's primary result code (https://sqlite.org/rescode.html); 0 for another error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _sign(database: sqlite3.Connection) -> None:
    """Give a new file its id and counts, and note the first entry of each run of the machine."""
    facts = facts_of(database)
    if "id" not in facts:
        set_fact(database, "id", os.urandom(8).hex())
    for count in ("delivered", "discarded_unsent"):
        if count not in facts:
            set_fact(database, count, "0")
    boot = machine_boot()
    if facts.get("machine_boot") != boot or "first_of_boot" not in facts:
        set_fact(database, "machine_boot", boot)
        set_fact(database, "first_of_boot", str(newest(database) + 1))


@cache
def machine_boot() -> str:
    """Which run of the machine this is; another for each process where the kernel doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return os.urandom(8).hex()
