"""What the bridge reads from its disk: the cursor, where it stands announced, producers' journals."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import services.catalogue  # noqa: F401  # fills the table of topics
from messages.message import Message
from services.bridge.cursor_store import CursorStore
from services.bridge.discovery import Discovery
from services.bridge.journal_consumer import JournalConsumer
from services.bridge.outbox import Outbox
from services.config import Car, Mqtt, Settings
from services.metrics import Metrics
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed


class BridgeStateDoor(Door):
    name = "bridge-state"

    def open(self, folder: Path) -> None:
        self._folder = folder
        self._settings = Settings(car=Car(name="car"), mqtt=Mqtt(host="broker"))

    def feed(self, chance: random.Random) -> None:
        kind = chance.randrange(8)
        try:
            if kind == 0:
                self._journal(chance)
            elif kind < 3:
                self._announced(chance)
            else:
                self._cursor(chance)
        except Exception as error:
            raise DoorFailed(f"{type(error).__name__}: {error}") from error

    def settle(self) -> None:
        """Each input has been dealt with when `feed` returns."""

    def close(self) -> None:
        """Nothing outlives an input."""

    def _cursor(self, chance: random.Random) -> None:
        path = self._folder / "cursor.json"
        cursors = {"a": chance.choice((3, 10**30, -1, hostile.value(chance))), "b": 4}
        path.write_bytes(hostile.document(chance, {"delivered": cursors, "fingerprints": {"a": "x"}}))
        store = CursorStore(path)
        for journal in ("a", "b", "c"):
            store.get(journal)
            store.follow(journal, chance.randrange(5))
            store.advance(journal, 7, "f")
        store.save()
        if CursorStore(path).get("b") != (7, "f"):
            raise DoorFailed("what was saved is not read again")

    def _announced(self, chance: random.Random) -> None:
        path = self._folder / "announced"
        prefix = chance.choice((hostile.document(chance, {}), b"homeassistant", b"+", b"a\0", b"x" * 70_000))
        path.write_bytes(prefix + chance.choice((b"", b"/device/smartcar-car/config")))
        said: list[str] = []

        def publish(topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int:
            if not topic or len(topic) > 65_535 or set(topic) & set("+#\0"):
                raise ValueError("paho publishes no such topic")
            said.append(topic)
            return len(said)

        discovery = Discovery(self._settings, publish, path)
        discovery.session_up()
        for handle in range(1, len(said) + 1):
            discovery.acknowledged(handle, 0)
        discovery.tick()

    def _journal(self, chance: random.Random) -> None:
        path = self._folder / "journal.sqlite3"
        for each in self._folder.glob("journal.sqlite3*"):
            each.unlink()
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA synchronous=OFF")
            database.execute(
                "CREATE TABLE entries (number INTEGER PRIMARY KEY AUTOINCREMENT, topic, wall, payload)"
            )
            database.execute("CREATE TABLE facts (name, value)")
            for name, value in (("id", "a"), ("machine_boot", "x"), ("first_of_boot", "1")):
                odd = chance.choice((None, 3, 1.5, b"\xff", "9" * 30, "")) if chance.random() < 0.2 else value
                database.execute("INSERT INTO facts VALUES (?, ?)", (name, odd))
            for number in range(1, 6):
                example = {"boot_id": "b", "sequence": number, "source": "recognizer"}
                payload = hostile.document(chance, example)
                topic = chance.choice(("reading.event", "reading.event", "nobody", b"\xff", 7))
                database.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (number, topic, "then", payload))
            database.commit()
        if chance.random() < 0.3:
            path.write_bytes(hostile.mutated(chance, path.read_bytes()))
        cursors = CursorStore(self._folder / "none.json")
        cursors.advance("a", chance.randrange(8), chance.choice(("", "f")))
        consumer = JournalConsumer("recognizer", path, cursors)
        consumer.hear("reading.event", Message(boot_id="b", sequence=chance.randrange(8)))
        consumer.backlog()
        for entry in consumer.read(10):
            consumer.has_gone(entry)
            consumer.settle(consumer.take(entry))
        consumer.close()
        outbox = Outbox({"recognizer": path}, cursors, "car/", lambda *_, **__: 1, Metrics())
        outbox.wake()
        outbox.shut()
        json.dumps(cursors.saved)


DOOR = BridgeStateDoor
