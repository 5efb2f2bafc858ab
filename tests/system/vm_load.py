"""Run in a virtual machine whose power will be cut: check what the last cut left, then write, unresting.

    python -m tests.system.vm_load FOLDER PORT

Says on PORT, as lines of JSON, first what it found, then what is written for good, as soon as that is so.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from messages.journal import Journal
from models.bundle.bundle import Bundle
from models.store import Store
from services.updater.state import StateFile
from tests.models.making import rewritten

PAYLOAD = random.Random(1).randbytes(1000)


def payload(number: int) -> bytes:
    """What entry `number` holds: it can be told from the number alone."""
    return PAYLOAD[: 100 + number * 37 % 900]


def check_journal(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as database:
        [(sound,)] = database.execute("PRAGMA integrity_check")
        entries = list(database.execute("SELECT number, payload FROM entries ORDER BY number"))
    numbers = [number for number, _ in entries]
    return {
        "sound": sound == "ok",
        "gapless": numbers == list(range(1, len(numbers) + 1)),
        "span": numbers and [numbers[0], numbers[-1], len(numbers)],
        "as_written": all(content == payload(number) for number, content in entries),
        "last": len(numbers),
    }


def check_store(store: Store) -> dict[str, Any]:
    for digest in store.digests:
        store.load(digest)  # every byte checked
    return {"active": store.active, "models": len(store.digests), "set_aside": store.set_aside}


def write_journal(journal: Journal, first: int, say: Any) -> None:
    for number in itertools.count(first):
        assert journal.append("reading.event", payload(number)) == number
        if number % 20 == 0:
            say(appended=number, at=time.monotonic())


def change_store(store: Store, ledger: StateFile, others: list[Bundle], say: Any) -> None:
    for turn in itertools.count():
        digest = store.add(others[turn % len(others)])
        for then in (digest, store.factory):
            say(activating=then)
            store.activate(then)
            say(active=then)
            ledger.write(releases={"load": turn + 1})
        store.remove(digest)


def another(folder: Path, version: str) -> Bundle:
    """The shipped bundle as if it were of another version."""
    return Bundle.load(rewritten(folder, lambda manifest: manifest.update(version=version)))


def main(folder: Path, port: str) -> None:
    descriptor = os.open(port, os.O_WRONLY)
    guard = threading.Lock()

    def say(**content: Any) -> None:
        with guard:
            os.write(descriptor, json.dumps(content).encode() + b"\n")

    path = folder / "recognizer" / "journal.sqlite3"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path, max_entries=1 << 30, max_bytes=1 << 30)  # else the oldest would make room
    ledger = StateFile(folder / "updater" / "ledger.json")
    store = Store(folder / "models")
    found = check_journal(path)
    say(
        journal=found | {"recovered": journal.recovered_from is not None},
        store=check_store(store),
        ledger=not list((folder / "updater").glob("*.damaged")),
    )
    with tempfile.TemporaryDirectory() as spare:
        others = [another(Path(spare, name), f"9.0.{name}") for name in ("1", "2")]
    threading.Thread(target=change_store, args=(store, ledger, others, say), daemon=True).start()
    write_journal(journal, found["last"] + 1, say)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
