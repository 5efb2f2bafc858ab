"""The journal on real files and between real processes: what was acknowledged is there, come what may."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import messages.journal
import messages.journal_flusher
from messages.journal import BACKLOG, Journal
from messages.journal_file import JournalEntry
from messages.journal_reader import JournalReader
from messages.lock import AlreadyOwned
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.disk import Disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite3"


@pytest.fixture
def small_disk(make_disk: Callable[[int], Disk]) -> Disk:
    return make_disk(1)


def numbered(path: Path, after: int = 0, limit: int = 100_000) -> list[tuple[int, bytes]]:
    reader = JournalReader(path)
    entries = reader.read(after, limit)
    reader.close()
    return [(entry.number, entry.payload) for entry in entries]


def payloads(path: Path) -> list[bytes]:
    return [payload for _, payload in numbered(path)]


# Appending and reading


def test_entries_are_read_in_order_after_a_cursor(path: Path) -> None:
    journal, reader = Journal(path), JournalReader(path)
    before = time.time()
    assert [journal.append("a", b"%d" % value) for value in range(5)] == [1, 2, 3, 4, 5]
    entries = reader.read(2, limit=2)
    assert [(entry.number, entry.topic, entry.payload) for entry in entries] == [
        (3, "a", b"2"),
        (4, "a", b"3"),
    ]
    assert before <= entries[0].wall <= time.time()
    assert reader.read(5) == []
    assert reader.bounds() == (1, 5)
    assert reader.tail(2) == reader.read(3)
    assert reader.id == journal.id
    journal.close()


def test_the_tail_of_a_topic_is_what_a_producer_needs_at_its_start(path: Path) -> None:
    journal = Journal(path)
    for value in range(6):
        journal.append("even" if value % 2 == 0 else "odd", b"%d" % value)
    journal.close()
    again = Journal(path)
    assert [entry.payload for entry in again.tail("odd", 2)] == [b"3", b"5"]
    assert again.tail("none", 5) == []
    again.close()


def test_numbers_go_on_after_all_was_pruned_and_the_journal_opened_again(path: Path) -> None:
    journal = Journal(path)
    for _ in range(3):
        journal.append("a", b"")
    journal.prune(3)
    assert len(journal) == 0
    journal.close()
    again = Journal(path)
    assert again.id == journal.id
    assert again.append("a", b"") == 4
    again.close()


def test_what_is_delivered_goes_but_for_the_newest(path: Path) -> None:
    journal = Journal(path, keep_delivered=2)
    for _ in range(10):
        journal.append("a", b"")
    journal.prune(6)
    assert [number for number, _ in numbered(path)] == [5, 6, 7, 8, 9, 10]
    journal.prune(4)  # an old cursor changes nothing
    assert len(journal) == 6
    journal.close()


class AgainstAList(RuleBasedStateMachine):
    """The journal does what a list would do that is cut at its beginning."""

    @initialize(max_entries=st.integers(1, 12), max_bytes=st.integers(50, 400), keep=st.integers(0, 4))
    def begin(self, max_entries: int, max_bytes: int, keep: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sc-")
        self.max_entries, self.max_bytes, self.keep = max_entries, max_bytes, keep
        self.reader = JournalReader(Path(self.folder.name) / "journal")
        self.journal = self.opened()
        self.id = self.journal.id
        self.model: list[tuple[int, bytes]] = []
        self.newest = self.delivered = self.unsent = self.unchecked = 0

    def opened(self) -> Journal:
        return Journal(
            self.reader.path,
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
            keep_delivered=self.keep,
        )

    @rule(payload=st.binary(max_size=60))
    def append(self, payload: bytes) -> None:
        self.newest += 1
        assert self.journal.append("a", payload) == self.newest
        self.model.append((self.newest, payload))
        self.unchecked += len(payload)
        if self.unchecked > self.max_bytes // 16:
            self.cut()

    @rule()
    def enforce(self) -> None:
        self.journal.enforce_caps()
        self.cut()

    @rule(back=st.integers(0, 15))
    def prune(self, back: int) -> None:
        up_to = max(0, self.newest - back)
        self.journal.prune(up_to)
        if up_to > self.delivered:
            self.delivered = up_to
            self.model = [entry for entry in self.model if entry[0] > up_to - self.keep]

    @rule()
    def open_again(self) -> None:
        self.journal.close()
        self.journal = self.opened()
        self.cut()

    def cut(self) -> None:
        self.unchecked = 0
        allowed = self.max_bytes * 0.9 if self.size() > self.max_bytes else self.max_bytes
        while len(self.model) > self.max_entries or self.size() > allowed:
            number, _ = self.model.pop(0)
            self.unsent += number > self.delivered

    def size(self) -> int:
        return sum(len(payload) for _, payload in self.model)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        assert [(entry.number, entry.payload) for entry in self.reader.read(0, 1000)] == self.model
        assert self.journal.discarded_unsent == self.unsent
        assert self.reader.id == self.journal.id == self.id

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.journal.close()
            self.reader.close()
            self.folder.cleanup()


AgainstAList.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=25)
TestAgainstAList = AgainstAList.TestCase


# Caps


def test_beyond_a_cap_the_oldest_go_and_only_the_unsent_are_counted(path: Path) -> None:
    journal = Journal(path, max_entries=10, keep_delivered=100)
    for _ in range(30):
        journal.append("a", b"")
    journal.prune(15)
    journal.enforce_caps()
    assert [number for number, _ in numbered(path)] == list(range(21, 31))
    assert journal.discarded_unsent == 5
    journal.close()
    again = Journal(path)
    assert again.discarded_unsent == 5, "the count outlives the process"
    again.close()


def test_a_flood_is_capped_while_it_comes(path: Path) -> None:
    journal = Journal(path, max_bytes=100_000)
    for _ in range(3000):
        journal.append("a", bytes(1000))
        assert len(journal) <= 110
    assert journal.discarded_unsent + len(journal) == 3000
    journal.close()
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 3_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The wall clock and the machine's uptime, to be turned by hand."""
    now = {"wall": 1.8e9, "uptime": 100 * 86400.0}
    monkeypatch.setattr(time, "time", lambda: now["wall"])
    monkeypatch.setattr(time, "clock_gettime", lambda _: now["uptime"])
    return now


def test_entries_go_with_age(path: Path, clock: dict[str, float]) -> None:
    journal = Journal(path, max_age_s=86400)
    journal.append("a", b"old")
    clock["wall"] += 80_000
    journal.append("a", b"new")
    clock["wall"] += 10_000
    journal.enforce_caps()
    assert payloads(path) == [b"new"]
    assert journal.discarded_unsent == 1
    journal.close()


def test_a_clock_set_forward_does_not_make_what_was_just_written_old(
    path: Path, clock: dict[str, float]
) -> None:
    clock["uptime"] = 60
    journal = Journal(path, max_age_s=86400)
    journal.append("a", b"before")
    clock["wall"] += 1e9
    journal.append("a", b"after")
    journal.enforce_caps()
    assert payloads(path) == [b"before", b"after"]
    journal.close()


def test_what_an_unset_clock_dated_and_an_unset_clocks_judgement_are_not_believed(
    path: Path, clock: dict[str, float]
) -> None:
    clock["wall"] = 1000.0
    journal = Journal(path, max_age_s=86400)
    journal.append("a", b"1970")
    clock["wall"] = 1.8e9
    journal.append("a", b"now")
    journal.enforce_caps()
    clock["wall"] = 1e9
    journal.enforce_caps()
    assert payloads(path) == [b"1970", b"now"]
    journal.close()


def test_a_clock_set_back_changes_no_order(path: Path, clock: dict[str, float]) -> None:
    journal = Journal(path)
    for step in range(5):
        clock["wall"] -= 1000 * step
        journal.append("a", b"%d" % step)
    assert payloads(path) == [b"0", b"1", b"2", b"3", b"4"]
    journal.close()


# Kills and power cuts

_APPENDER = """
import sys
from pathlib import Path
from messages.journal import Journal
journal = Journal(Path(sys.argv[1]))
value = int(sys.argv[2])
while True:
    number = journal.append("a", b"%d" % value + b"." * 300)
    print(number, value, flush=True)
    value += 1
"""


def test_every_acknowledged_entry_is_there_after_kills_at_random_moments(path: Path) -> None:
    chance, told, value = random.Random(3), list[tuple[int, int]](), 0
    reader, seen = JournalReader(path), list[JournalEntry]()
    for _ in range(8):
        appender = subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(path), str(value)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert appender.stdout is not None
        for _ in range(chance.randrange(1, 400)):
            told.append(_two_numbers(appender.stdout.readline()))
        seen += reader.read(seen[-1].number if seen else 0, limit=50)  # in the midst of it
        time.sleep(chance.uniform(0, 0.005))
        appender.send_signal(signal.SIGKILL)
        # What it said before it died, but for a line cut short.
        told += [
            _two_numbers(line) for line in appender.communicate()[0].splitlines(True) if line[-1] == "\n"
        ]
        value = told[-1][1] + 2  # it may have written one more than it said
    while page := reader.read(seen[-1].number, limit=200):
        seen += page
    found = [(entry.number, int(entry.payload.rstrip(b"."))) for entry in seen]
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert len({value for _, value in found}) == len(found)
    assert set(told) <= set(found)
    assert len(found) <= len(told) + 8
    reader.close()


def _two_numbers(line: str) -> tuple[int, int]:
    number, value = line.split()
    return int(number), int(value)


def test_a_reader_beside_a_writer_that_prunes_misses_nothing_it_has_not_read(path: Path) -> None:
    total, read_up_to, got = 2000, 0, list[int]()
    journal = Journal(path)
    stop = threading.Event()

    def read() -> None:
        nonlocal read_up_to
        reader = JournalReader(path)
        while not stop.is_set() or read_up_to < total:
            for entry in reader.read(read_up_to, limit=37):
                got.append(entry.number)
                read_up_to = entry.number
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    for value in range(total):
        assert journal.append("a", b"%d" % value) is not None
        if value % 10 == 0:
            journal.prune(read_up_to)
    stop.set()
    thread.join()
    assert got == list(range(1, total + 1))
    journal.close()


def test_what_was_appended_is_flushed_to_the_disk_soon(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(messages.journal_flusher, "FLUSH_TO_DISK_S", 0.01)
    monkeypatch.setattr(os, "fdatasync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    journal = Journal(path)
    for count in (1, 2):
        journal.append("a", b"")
        wait_for(lambda: len(flushed) >= count)  # noqa: B023
    assert set(flushed) == {f"{path}-wal"}
    journal.close()


def test_what_comes_while_the_disk_is_flushed_is_flushed_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def slow_card(_: int) -> None:
        began.release()
        go_on.acquire(timeout=PATIENCE_S)

    monkeypatch.setattr(messages.journal_flusher, "FLUSH_TO_DISK_S", 0.01)
    monkeypatch.setattr(os, "fdatasync", slow_card)
    journal = Journal(path)
    journal.append("a", b"1")
    assert began.acquire(timeout=PATIENCE_S)
    journal.append("a", b"2")  # the flush under way may have passed it already
    go_on.release()
    assert began.acquire(timeout=PATIENCE_S), "the second entry is never flushed"
    go_on.release()
    journal.close()


def test_a_cursor_that_cannot_be_changes_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.append("a", b"1")
    for up_to in (-1, 0, 2, 10**9, 2**63 - 1):
        journal.prune(up_to)
    assert journal.append("a", b"2") == 2
    assert payloads(path) == [b"1", b"2"]
    journal.close()


# A full disk


def test_while_the_disk_is_full_entries_wait_and_go_in_order_when_there_is_room(small_disk: Disk) -> None:
    path = small_disk.folder / "journal"
    (small_disk.folder / "ballast").write_bytes(bytes(1 << 18))
    journal = Journal(path)
    written = 0
    while journal.append("a", b"%d." % written + bytes(2000)) is not None:
        written += 1
    assert written > 10
    for value in range(written + 1, written + 20):
        assert journal.append("a", b"%d." % value + bytes(2000)) is None
    assert len(journal.backlog) == 20
    (small_disk.folder / "ballast").unlink()
    assert journal.flush() == written + 20
    assert [int(each.split(b".")[0]) for each in payloads(path)] == list(range(written + 20))
    journal.close()


def test_a_journal_that_finds_the_disk_full_at_its_start_takes_entries_and_writes_them_later(
    small_disk: Disk,
) -> None:
    path = small_disk.folder / "journal"
    ballast = small_disk.fill_up()
    journal = Journal(path)
    assert (journal.id, journal.tail("a", 1), len(journal)) == ("", [], 0)
    assert [journal.append("a", b"%d" % value) for value in range(3)] == [None] * 3
    journal.prune(1)
    journal.enforce_caps()
    ballast.unlink()
    assert journal.append("a", b"3") == 4
    assert payloads(path) == [b"0", b"1", b"2", b"3"]
    assert JournalReader(path).bounds() == (1, 4)
    journal.close()


def test_an_old_journal_on_a_full_disk_goes_on_where_it_was(small_disk: Disk) -> None:
    path = small_disk.folder / "journal"
    first = Journal(path)
    first.append("a", b"0")
    first.close()
    ballast = small_disk.fill_up()
    journal = Journal(path)
    assert journal.append("a", b"1") is None
    ballast.unlink()
    assert journal.flush() == 2
    assert (journal.id, journal.recovered_from) == (first.id, None)
    assert payloads(path) == [b"0", b"1"]
    journal.close()


def test_the_backlog_is_bounded_and_what_falls_out_is_counted(small_disk: Disk) -> None:
    ballast = small_disk.fill_up()
    journal = Journal(small_disk.folder / "journal")
    for value in range(BACKLOG + 5):
        journal.backlog.append(("a", 0.0, b"%d" % value))
        if len(journal.backlog) >= BACKLOG:
            break
    for value in range(5):
        assert journal.append("a", b"late %d" % value) is None
    assert (len(journal.backlog), journal.lost) == (BACKLOG, 5)
    ballast.unlink()
    journal.close()
    assert payloads(small_disk.folder / "journal")[-1] == b"late 4"


# A read-only disk


def test_a_journal_on_a_read_only_disk_is_read_and_takes_entries_once_that_is_put_right(
    small_disk: Disk,
) -> None:
    path = small_disk.folder / "state" / "journal.sqlite3"
    old = sample(path, 2)
    small_disk.read_only()
    journal, reader = Journal(path), JournalReader(path)
    assert "is read-only; a card does that at its end" in journal.problem
    assert [entry.number for entry in journal.tail("a", 5)] == [1, 2]
    assert (len(reader.read(0)), reader.id) == (2, old)
    assert [journal.append("a", b"%d" % value) for value in range(3)] == [None] * 3
    journal.prune(2)
    small_disk.writable()
    assert journal.flush() == 5
    assert (journal.problem, journal.id) == ("", old)
    assert [entry.payload for entry in reader.read(2)] == [b"0", b"1", b"2"]
    reader.close()
    journal.close()


@pytest.mark.parametrize("companions", [("-wal", "-shm"), ("-wal",), ()])
def test_what_a_power_cut_left_is_read_on_a_read_only_disk(
    small_disk: Disk, companions: tuple[str, ...]
) -> None:
    path = small_disk.folder / "state" / "journal.sqlite3"
    journal = Journal(path)
    journal.append("a", b"0")
    kept = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal", "-shm")}
    journal.close()
    for name in ("", *companions):
        Path(f"{path}{name}").write_bytes(kept[name])
    small_disk.read_only()
    reader = JournalReader(path)
    found = [entry.payload for entry in reader.read(0)]
    assert found == ([b"0"] if "-shm" in companions else []), "a log alone can't be read"
    reader.close()


def test_a_damaged_journal_on_a_read_only_disk_waits_to_be_moved_aside(small_disk: Disk) -> None:
    path = small_disk.folder / "state" / "journal.sqlite3"
    path.parent.mkdir()
    path.write_bytes(b"rubbish" * 1000)
    small_disk.read_only()
    journal = Journal(path)
    assert (journal.append("a", b"0"), journal.tail("a", 5)) == (None, [])
    small_disk.writable()
    assert journal.flush() == 1
    assert journal.recovered_from is not None
    assert payloads(path) == [b"0"]
    journal.close()


def test_what_still_waits_is_taken_up_by_the_next_process(small_disk: Disk, tmp_path: Path) -> None:
    path, shelter = small_disk.folder / "state" / "journal.sqlite3", tmp_path / "shelter"
    small_disk.read_only()
    for value in range(2):
        journal = Journal(path, shelter=shelter)
        journal.append("a", b'{"text": "%d"}' % value)
        journal.close()
        assert shelter.exists()
    small_disk.writable()
    Journal(path, shelter=shelter).close()
    assert payloads(path) == [b'{"text": "0"}', b'{"text": "1"}']
    assert not shelter.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[["a", "b", "c"]]', b"\xff"])
def test_a_damaged_shelter_holds_nothing(path: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shelter").write_bytes(content)
    journal = Journal(path, shelter=tmp_path / "shelter")
    assert (len(journal), len(journal.backlog)) == (0, 0)
    journal.close()


# Damage


def sample(path: Path, entries: int = 200) -> str:
    journal = Journal(path)
    for value in range(entries):
        journal.append("a", b"%d" % value + bytes(100))
    journal.close()
    return journal.id


def test_a_damaged_file_is_moved_aside_and_a_new_one_made(path: Path) -> None:
    old = sample(path)
    content = path.read_bytes()
    path.write_bytes(content[:5000] + b"\xff" * 5000 + content[10_000:])
    journal = Journal(path)
    assert journal.recovered_from == path.with_name("journal.sqlite3.corrupt-1")
    assert journal.recovered_from.read_bytes()[5000:10_000] == b"\xff" * 5000
    assert journal.id != old
    assert journal.append("a", b"") == 1
    journal.close()
    sound = Journal(path)
    assert sound.recovered_from is None
    sound.close()


def test_what_a_killed_writer_left_in_the_log_outlives_damage_to_the_file(path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from messages.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for value in range(3): journal.append('a', b'%d' % value)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=REPOSITORY, check=False)
    path.write_bytes(b"rubbish" * 1000)
    journal = Journal(path)
    assert payloads(path) == [b"0", b"1", b"2"]
    journal.close()


def test_two_damaged_files_are_kept_and_no_more(path: Path) -> None:
    sample(path, 1)
    for value in range(4):
        path.write_bytes(b"rubbish %d" % value * 1000)
        Journal(path).close()
    kept = sorted(file.name for file in path.parent.iterdir() if "corrupt" in file.name)
    assert kept == ["journal.sqlite3.corrupt-1", "journal.sqlite3.corrupt-2"]
    assert path.with_name(kept[0]).read_bytes().startswith(b"rubbish 3")
    assert path.with_name(kept[1]).read_bytes().startswith(b"rubbish 2")


def test_whatever_is_damaged_the_journal_opens_and_takes_entries(path: Path) -> None:
    chance = random.Random(5)
    sample(path)
    whole = path.read_bytes()
    for attempt in range(40):
        content = bytearray(whole)
        if attempt % 4 == 0:
            del content[chance.randrange(len(content)) :]
        else:
            for _ in range(chance.choice((1, 20, 400))):
                content[chance.randrange(len(content))] = chance.randrange(256)
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(content)
        journal, reader = Journal(path), JournalReader(path)
        number = journal.append("a", b"after")
        journal.enforce_caps()
        number = number if journal.id == _id_of(reader) else journal.append("a", b"after")
        assert number is not None, f"attempt {attempt}"
        assert reader.read(number - 1)[-1].payload == b"after", f"attempt {attempt}"
        journal.tail("a", 5)
        reader.tail(1000)
        journal.close()
        reader.close()


def _id_of(reader: JournalReader) -> str:
    reader.bounds()
    return reader.id


def test_a_log_of_rubbish_costs_only_what_was_in_it(path: Path) -> None:
    sample(path, 10)
    wal = path.with_name(path.name + "-wal")
    for rubbish in (b"", b"x", bytes(40_000), os.urandom(40_000)):
        wal.write_bytes(rubbish)
        path.with_name(path.name + "-shm").write_bytes(rubbish)
        journal = Journal(path)
        assert journal.recovered_from is None
        assert len(journal) == 10
        journal.close()


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE entries (x)", "CREATE TABLE facts (x)", "CREATE VIEW entries AS SELECT 1"],
)
def test_another_programs_database_is_no_journal(path: Path, statement: str) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute(statement)
    other.close()
    journal = Journal(path)
    assert journal.recovered_from is not None
    assert journal.append("a", b"") == 1
    journal.close()


def test_a_count_that_was_damaged_does_not_stop_the_journal(path: Path) -> None:
    sample(path, 1)
    database = sqlite3.connect(path)
    database.execute("UPDATE facts SET value = 'many' WHERE name = 'delivered'")
    database.commit()
    database.close()
    journal = Journal(path)
    assert journal.recovered_from is not None
    journal.close()


def test_damage_found_while_in_use_costs_the_file_and_not_the_next_entries(path: Path) -> None:
    journal, reader = Journal(path), JournalReader(path)
    for _ in range(150):  # more than is kept in memory
        journal.append("a", bytes(50_000))
    assert reader.read(0, 1)
    old = journal.id
    damage = (
        "import os, sys\nfor name in sys.argv[1:]: open(name, 'r+b').write(os.urandom(os.stat(name).st_size))"
    )
    subprocess.run([sys.executable, "-c", damage, str(path), f"{path}-wal"], check=True)
    for _ in range(20):
        assert journal.append("a", b"fresh") is not None or journal.backlog
        journal.enforce_caps()
    assert journal.recovered_from is not None
    assert journal.id != old
    fresh = [entry.payload for entry in reader.read(0)]
    assert reader.id == journal.id
    assert fresh
    assert set(fresh) == {b"fresh"}
    reader.close()
    journal.close()
    assert payloads(path) == fresh, "a reader that closes the old file takes nothing of the new one with it"


# Owners and folders


def test_a_second_writer_is_refused_and_told_who_the_first_is(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from messages.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(AlreadyOwned, match=rf"writer of .*journal\.sqlite3 .*process {first.pid}"):
        Journal(path)
    first.kill()
    first.communicate()
    Journal(path).close()


@pytest.mark.parametrize(
    ("in_the_way", "says"),
    [("journal.sqlite3", "something else in its place"), ("", r"state is no folder; move it away")],
)
def test_what_lies_in_its_place_is_named_and_once_it_is_gone_all_is_written(
    path: Path, in_the_way: str, says: str
) -> None:
    obstacle = path.parent / in_the_way if in_the_way else path.parent
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.mkdir() if in_the_way else obstacle.touch()
    journal = Journal(path)
    assert re.search(says, journal.problem)
    assert journal.append("a", b"0") is None
    obstacle.rmdir() if in_the_way else obstacle.unlink()
    assert journal.flush() == 1
    assert (journal.problem, payloads(path)) == ("", [b"0"])
    journal.close()


def test_where_the_lock_comes_too_late_the_other_writer_is_named(small_disk: Disk) -> None:
    path = small_disk.folder / "state" / "journal.sqlite3"
    small_disk.read_only()
    late = Journal(path)
    late.append("a", b"late")
    small_disk.writable()
    first = Journal(path)
    assert late.flush() is None
    assert "is already running here" in late.problem
    first.close()
    assert late.flush() == 1
    late.close()


def test_a_journal_belongs_to_one_thread(path: Path) -> None:
    journal = Journal(path)
    raised: list[Exception] = []

    def append() -> None:
        try:
            journal.append("a", b"")
        except sqlite3.ProgrammingError as error:
            raised.append(error)

    thread = threading.Thread(target=append)
    thread.start()
    thread.join()
    assert raised
    journal.close()


# Readers


def test_a_reader_waits_for_the_file_and_follows_a_new_one(path: Path) -> None:
    reader = JournalReader(path)
    assert (reader.read(0), reader.bounds(), reader.id) == ([], (0, 0), "")
    old = sample(path, 3)
    assert (len(reader.read(0)), reader.id) == (3, old)
    path.unlink()
    assert (reader.read(0), reader.id) == ([], "")
    new = sample(path, 2)
    assert (len(reader.read(0)), reader.id) == (2, new)
    assert new != old
    reader.close()


def test_a_reader_sees_nothing_in_a_file_that_is_no_journal(path: Path) -> None:
    path.parent.mkdir()
    for content in (b"", b"rubbish" * 1000):
        path.write_bytes(content)
        reader = JournalReader(path)
        assert (reader.read(0), reader.tail(5), reader.bounds(), reader.id) == ([], [], (0, 0), "")
        reader.close()


def test_a_reader_cannot_write(path: Path) -> None:
    sample(path, 3)
    before = path.read_bytes()
    reader = JournalReader(path)
    assert reader._query("DELETE FROM entries RETURNING number", ()) == []
    reader.close()
    assert path.read_bytes() == before
