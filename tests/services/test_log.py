"""The log: lines on standard error, entries with fields in the journal, never more than a fault is worth."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import journald
from services.journald import JournalHandler
from services.log import BURST, RateLimit, fields, set_up
from tests.conftest import REPOSITORY


def parsed(datagram: bytes) -> dict[str, str]:
    """An entry of the journal's native protocol."""
    entry = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, has_value, value = line.partition(b"=")
        if not has_value:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        entry[name.decode()] = value.decode()
        datagram = rest
    return entry


class Journal:
    """What journald would hear, and a logger that speaks to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "socket"
        self.listen()
        self.spoken_otherwise: list[logging.LogRecord] = []
        otherwise = logging.Handler()
        otherwise.emit = self.spoken_otherwise.append  # type: ignore[assignment, method-assign]
        self.handler = JournalHandler("pad", otherwise, str(self.path))
        self.log = logging.Logger("services.pad.service")
        self.log.addHandler(self.handler)

    def listen(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(5)

    def end(self) -> None:
        self.socket.close()
        self.path.unlink()

    def entry(self) -> dict[str, str]:
        return parsed(self.socket.recv(1 << 20))


@pytest.fixture
def journal(runtime: Path) -> Iterator[Journal]:
    made = Journal(runtime)
    yield made
    made.handler.close()
    made.socket.close()


def test_an_entry_says_who_where_how_bad_and_about_what(journal: Journal) -> None:
    journal.log.warning("no %s", "camera", extra=fields(event="01M8", frame=412, model="digits 1.0"))
    entry = journal.entry()
    assert entry["MESSAGE"] == "no camera"
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "smartcar-pad"
    assert entry["SMARTCAR_SERVICE"] == "pad"
    assert entry["CODE_FILE"] == __file__
    assert int(entry["CODE_LINE"]) > 1
    assert (entry["SMARTCAR_EVENT"], entry["SMARTCAR_FRAME"], entry["SMARTCAR_MODEL"]) == (
        "01M8", "412", "digits 1.0",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_levels_are_the_journals_priorities(level: int, priority: int) -> None:
    assert journald.priority(level) == priority


def test_a_traceback_is_one_entry_of_many_lines(journal: Journal) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        journal.log.exception("crashed")
    message = journal.entry()["MESSAGE"]
    assert message.startswith("crashed\nTraceback")
    assert message.endswith("RuntimeError: broken")


def test_a_value_can_not_make_up_further_fields(journal: Journal) -> None:
    journal.log.info("one\nPRIORITY=0\nMESSAGE=two", extra=fields(model="a\nPRIORITY=0"))
    entry = journal.entry()
    assert entry["MESSAGE"] == "one\nPRIORITY=0\nMESSAGE=two"
    assert entry["PRIORITY"] == "6"
    assert entry["SMARTCAR_MODEL"] == "a\nPRIORITY=0"


def test_a_long_message_is_cut(journal: Journal) -> None:
    journal.log.info("é" * 1_000_000)
    assert len(journal.entry()["MESSAGE"]) == journald.LONGEST_MESSAGE


def test_while_the_journal_is_away_lines_go_elsewhere_and_then_come_again(journal: Journal) -> None:
    journal.end()
    journal.log.info("meanwhile")
    assert [record.getMessage() for record in journal.spoken_otherwise] == ["meanwhile"]
    journal.listen()
    journal.log.info("back")
    assert journal.entry()["MESSAGE"] == "back"


def test_a_journal_that_hangs_holds_up_nobody(journal: Journal) -> None:
    journal.handler._socket.settimeout(0.001)
    for number in range(600):  # more than its queue holds
        journal.log.info("line %d", number)
    assert journal.entry()["MESSAGE"] == "line 0"


def test_a_fault_that_repeats_is_told_a_few_times_and_then_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("services.log.time.monotonic", lambda: now)
    limit, log, through = RateLimit(), logging.Logger("services"), []
    log.addHandler(handler := logging.Handler())
    handler.addFilter(limit)
    handler.emit = lambda record: through.append(record.getMessage())  # type: ignore[method-assign]
    for number in range(50):
        now += 11.0 if number == 49 else 0.0
        log.warning("fault %d", number)
    assert through == [
        *(f"fault {number}" for number in range(BURST)),
        "fault 49 (39 more like this were left out)",
    ]


def test_the_processs_own_log_says_in_the_journal_just_what_was_said(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(runtime)
    monkeypatch.setattr(journald, "is_ours", lambda: True)
    monkeypatch.setattr(journald, "SOCKET", str(journal.path))
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        set_up("pad", "info")
        logging.getLogger("services.pad").warning("hello")
        assert journal.entry()["MESSAGE"] == "hello"
    finally:
        root.handlers[0].close()
        root.handlers[:] = before
        root.setLevel(level)
        journal.socket.close()


SPEAK = "from services.log import set_up; import logging; set_up('pad', 'info'); logging.info('hello')"


def test_without_a_journal_it_is_a_line_with_time_service_and_level() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SPEAK], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, check=True
    ).stderr
    assert re.fullmatch(r"\d\d:\d\d:\d\d pad: INFO hello\n", said)


def test_a_stream_that_is_not_the_journals_is_written_to() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SPEAK],
        cwd=REPOSITORY,
        env=os.environ | {"JOURNAL_STREAM": "8:1"},
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    ).stderr
    assert "pad: INFO hello" in said


@pytest.mark.skipif(
    shutil.which("systemd-cat") is None or not Path(journald.SOCKET).exists(), reason="no journal runs here"
)
def test_the_real_journal_takes_it() -> None:
    mark = f"hello-{os.getpid()}"
    subprocess.run(
        ["systemd-cat", sys.executable, "-c", SPEAK.replace("hello", mark)], cwd=REPOSITORY, check=True
    )
    found = subprocess.run(
        ["journalctl", "--no-pager", "-o", "cat", "SMARTCAR_SERVICE=pad", f"MESSAGE={mark}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert mark in found


def test_a_terminal_is_not_steered_by_what_is_logged() -> None:
    """Neither by a message nor by an exception of strangers' words."""
    script = (
        "import logging; from services.log import set_up; set_up('pad', 'info');"
        "log = logging.getLogger('x'); hostile = 'a\\x1b]0;owned\\x07\\r\\nb\\x9b2J\\u202e\\udce4';"
        "log.warning('%s', hostile)\n"
        "try: raise ValueError(hostile)\n"
        "except ValueError: log.exception('crashed')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, check=True)
    said = done.stderr.decode()
    assert said.count("owned") >= 2
    assert not {each for each in said if not each.isprintable()} - {"\n"}
    assert len([line for line in said.splitlines() if "WARNING" in line and line.endswith("b�2J��")]) == 1
