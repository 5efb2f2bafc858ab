"""Events that a power cut or a damaged journal might take: sent, or counted."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from messages import journal_file, journal_reader
from messages.journal import Journal
from messages.message import Message, encode
from services.bridge.cursor_store import CursorStore
from services.bridge.journal_consumer import JournalConsumer


class Car:
    """A journal with its consumer, through starts and power cuts of the machine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._boots = 0
        self.written = 0
        self.start_machine()

    def start_machine(self) -> None:
        self._boots += 1
        for module in (journal_file, journal_reader):
            self._monkeypatch.setattr(module, "machine_boot", lambda boot=self._boots: f"boot {boot}")

    def start_producer(self) -> None:
        self.journal = Journal(self._folder / "journal" / "journal.sqlite3", keep_delivered=500)

    def start_bridge(self) -> None:
        self.cursors = CursorStore(self._folder / "cursor.json")
        path = self._folder / "journal" / "journal.sqlite3"
        self.consumer = JournalConsumer("recognizer", path, self.cursors)
        self.consumer.backlog()

    def write(self, count: int) -> None:
        for _ in range(count):
            self.written += 1
            event = Message(boot_id=f"boot {self._boots}", sequence=self.written)
            self.journal.append("reading.event", encode(event))

    def deliver(self) -> list[int]:
        """Have all delivered; returns the sequence numbers."""
        delivered = []
        while entries := self.consumer.read(64):
            for entry in entries:
                self.consumer.settle(self.consumer.take(entry))
                delivered.append(Message.model_validate_json(entry.payload).sequence)
        self.cursors.save()
        return delivered

    def stop(self) -> None:
        self.consumer.close()
        self.journal.close()

    def save_disk(self) -> None:
        """Remember the journal as a power cut would leave it."""
        with sqlite3.connect(self._folder / "journal" / "journal.sqlite3") as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(self._folder / "journal", self._folder / "cut")

    def cut_power(self, *, restarts: bool = True) -> None:
        """All that the journal took since `save_disk` is gone; the cursor is not."""
        self.stop()
        shutil.rmtree(self._folder / "journal")
        shutil.move(self._folder / "cut", self._folder / "journal")
        if restarts:
            self.start_machine()


@pytest.fixture
def car(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Car]:
    made = Car(tmp_path, monkeypatch)
    made.start_producer()
    made.start_bridge()
    yield made
    made.stop()


@pytest.mark.parametrize("before_the_bridge", [0, 1, 10, 11, 15])
def test_after_a_power_cut_what_is_new_is_sent_whoever_starts_first(car: Car, before_the_bridge: int) -> None:
    car.write(90)
    car.save_disk()
    car.write(10)
    assert len(car.deliver()) == 100
    car.cut_power()
    if before_the_bridge:
        car.start_producer()
        car.write(before_the_bridge)
        car.start_bridge()
    else:
        car.start_bridge()
        car.start_producer()
    car.journal.prune(car.cursors.saved.get(car.journal.id, 0))
    car.write(5)
    assert car.deliver() == list(range(101, 106 + before_the_bridge))
    assert car.consumer.missing == 0


def test_after_an_orderly_start_nothing_is_sent_twice(car: Car) -> None:
    car.write(20)
    car.deliver()
    car.stop()
    car.start_machine()
    car.start_producer()
    car.write(3)
    car.start_bridge()
    assert car.cursors.saved == {car.journal.id: 20}
    assert car.deliver() == [21, 22, 23]


def test_a_journal_that_lost_its_end_otherwise_is_sent_again_rather_than_not_at_all(car: Car) -> None:
    """From a backup, or as a disk's error left it: the machine has not started anew."""
    car.write(20)
    car.save_disk()
    car.write(10)
    car.deliver()
    car.cut_power(restarts=False)
    car.start_producer()
    car.write(15)
    car.start_bridge()
    assert set(car.deliver()) >= set(range(31, 46))
    assert car.consumer.missing == 0


def test_a_cursor_that_names_no_entry_is_believed_where_the_journal_reaches_further(car: Car) -> None:
    """Delivered entries go from a journal sooner or later."""
    car.write(5)
    car.deliver()
    car.consumer.close()
    car.journal.close()
    with sqlite3.connect(car.journal.path) as database:
        database.execute("DELETE FROM entries")
    car.start_producer()
    car.write(2)
    car.start_bridge()
    assert car.deliver() == [6, 7]
    assert car.consumer.missing == 0


def test_a_bridge_that_starts_again_after_the_power_cut_sends_nothing_twice(car: Car) -> None:
    car.write(10)
    car.save_disk()
    car.write(5)
    car.deliver()
    car.cut_power()
    car.start_producer()
    car.write(5)
    for expected in ([16, 17, 18, 19, 20], []):
        car.start_bridge()
        assert car.deliver() == expected
        car.consumer.close()


def test_unsent_events_of_a_journal_that_was_damaged_are_counted(car: Car, tmp_path: Path) -> None:
    car.write(30)
    delivered = car.consumer.read(8)
    for entry in delivered:
        car.consumer.settle(car.consumer.take(entry))
    car.write(5)
    car.consumer.backlog()
    car.stop()
    path = tmp_path / "journal" / "journal.sqlite3"
    path.write_bytes(b"\0" * 16 + path.read_bytes()[16:])
    car.start_producer()
    assert car.journal.recovered_from is not None
    car.write(1)
    assert car.deliver() == [36]
    assert car.consumer.missing == 35 - len(delivered)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[" * 100_000, b'{"sequence": 1e999}', b'{"boot_id": 3}'])
def test_an_entry_that_is_no_message_is_read_like_any_other(car: Car, payload: bytes) -> None:
    car.journal.append("reading.event", payload)
    car.consumer.hear("reading.event", Message(boot_id="a", sequence=1))
    assert payload in [entry.payload for entry in car.consumer.read(10)]
