"""Reading a journal that another process writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from messages.journal_file import (
    COLUMNS,
    Damaged,
    JournalEntry,
    facts_of,
    machine_boot,
    open_at_rest,
    open_to_read,
)


class JournalReader:
    """Reads another process's journal; it may not exist yet, be replaced, or be pruned meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = ""
        """Of the file that the last `read` saw; empty where there was none."""
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._at_rest = False

    def read(self, after: int, limit: int = 500) -> list[JournalEntry]:
        """The entries numbered above `after`, oldest first. Check `id` before trusting `after`."""
        return self._entries("number > ? ORDER BY number LIMIT ?", (after, limit))

    def tail(self, limit: int) -> list[JournalEntry]:
        """The newest entries, oldest first."""
        return self._entries("1 ORDER BY number DESC LIMIT ?", (limit,))[::-1]

    def bounds(self) -> tuple[int, int]:
        """The oldest and the newest number; (0, 0) where there is none."""
        rows = self._query("SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM entries", ())
        return rows[0] if rows else (0, 0)

    def newest(self) -> tuple[int, int]:
        """The highest number ever given, and the highest that was given before the machine last started."""
        rows = self._query(
            "SELECT (SELECT value FROM facts WHERE name = 'machine_boot'), "
            "coalesce(CAST((SELECT value FROM facts WHERE name = 'first_of_boot') AS INTEGER), 1), "
            "CAST(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entries'), 0) AS INTEGER)",
            (),
        )
        if not rows:
            return 0, 0
        boot, first, newest = rows[0]
        return newest, first - 1 if boot == machine_boot() else newest

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _entries(self, where: str, values: Sequence[int]) -> list[JournalEntry]:
        rows = self._query(f"SELECT {COLUMNS} FROM entries WHERE {where}", values)
        return [JournalEntry(*row) for row in rows]

    def _query(self, statement: str, values: Sequence[int]) -> list[Any]:
        try:
            self._follow()
            if self._database is None:
                return []
            rows = self._database.execute(statement, values).fetchall()
            if self._at_rest:
                self.close()  # the disk may take something by the next call, and a writer come
            return rows
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error:
            self.close()  # being replaced or damaged; the next call opens it anew
            return []

    def _follow(self) -> None:
        """Open the file that is there now."""
        try:
            inode = self.path.stat().st_ino
        except OSError:
            self.close()
            self.id = ""
            return
        if self._database is not None and inode == self._inode:
            return
        self.close()
        self.id = ""
        self._database, facts = self._open()
        self._inode = inode
        if "id" not in facts:
            raise Damaged("it has no id")
        self.id = facts["id"]

    def _open(self) -> tuple[sqlite3.Connection, dict[str, str]]:
        self._at_rest = False
        database = open_to_read(self.path)
        try:
            return database, facts_of(database)
        except sqlite3.OperationalError:
            database.close()
        self._at_rest = True
        database = open_at_rest(self.path)
        return database, facts_of(database)
