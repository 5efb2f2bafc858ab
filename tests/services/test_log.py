"""The log: lines on standard error, entries with fields in the journal, never more than a fault is worth."""

from __future__ import annotations

import logging
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from logging.handlers import QueueListener
from pathlib import Path

import pytest

from services.log import BURST, DroppingQueueHandler, RateLimit, fields
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for


def test_fields_are_what_journalctl_is_asked_for() -> None:
    record = logging.Logger("services").makeRecord(
        "services", logging.INFO, __file__, 1, "seen", (), None, extra=fields(event="01M8", frame=412)
    )
    assert (record.__dict__["SMARTCAR_EVENT"], record.__dict__["SMARTCAR_FRAME"]) == ("01M8", "412")


class HungJournal(logging.Handler):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.taken: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.go_on.wait(PATIENCE_S)
        self.taken.append(self.format(record))


def test_a_journal_that_hangs_holds_up_nobody() -> None:
    journal, waiting = HungJournal(), queue.Queue[logging.LogRecord](5)
    listener = QueueListener(waiting, journal)
    listener.start()
    log = logging.Logger("services.pad")
    log.addHandler(DroppingQueueHandler(waiting))
    for number in range(600):  # more than may wait
        log.info("line %d", number)
    journal.go_on.set()
    wait_for(lambda: waiting.empty())
    listener.stop()
    assert journal.taken[0] == "line 0"
    assert len(journal.taken) <= 7


def test_a_traceback_comes_whole_through_the_queue() -> None:
    journal, waiting = HungJournal(), queue.Queue[logging.LogRecord](5)
    journal.go_on.set()
    listener = QueueListener(waiting, journal)
    listener.start()
    log = logging.Logger("services.pad")
    log.addHandler(DroppingQueueHandler(waiting))
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("crashed")
    listener.stop()
    [said] = journal.taken
    assert said.startswith("crashed\nTraceback")
    assert said.endswith("RuntimeError: broken")


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
    shutil.which("systemd-cat") is None or not Path("/run/systemd/journal/socket").exists(),
    reason="no journal runs here",
)
def test_the_real_journal_takes_it() -> None:
    pytest.importorskip("systemd.journal", reason="this Python has no systemd-python")
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
