"""A service that isn't heard: it starts, is just ending, hangs, failed, or isn't there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from messages.bus import socket_path
from messages.health import Heartbeat, ServiceState
from services.supervision import FailureNote
from tests.conftest import wait_for
from tools.observe import snapshot
from tools.observe.snapshot import absent

HOLDER = """
import sys, time
from pathlib import Path
from messages.lock import OwnerLock
lock = OwnerLock(Path(sys.argv[2]), sys.argv[1])
time.sleep(600)
"""


@pytest.fixture
def silent(runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of capture that holds its lock and says nothing."""
    lock = socket_path(runtime, "capture", "lock")
    process = subprocess.Popen([sys.executable, "-c", HOLDER, "capture", str(lock)])
    wait_for(lambda: lock.exists() and lock.read_text().strip() == str(process.pid))
    yield process
    process.kill()
    process.wait()


def beat(pid: int, state: ServiceState) -> Heartbeat:
    return Heartbeat(state=state, reason="", pid=pid, uptime_s=1.0, memory_mb=1.0)


def test_one_that_has_not_beaten_yet_is_starting(runtime: Path, silent: subprocess.Popen[bytes]) -> None:
    FailureNote.write(runtime, "capture", "what ended the one before")
    status = absent(runtime, "capture")
    assert (status.state, status.reason, status.pid) == ("starting", "", silent.pid)
    assert absent(runtime, "capture", beat(silent.pid + 1, "ready")).state == "starting"


def test_one_that_takes_too_long_for_it_does_not_answer(
    runtime: Path, silent: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "FIRST_BEAT_S", 0.0)
    status = absent(runtime, "capture")
    assert status.state == "failed"
    assert f"kill -9 {silent.pid}" in status.reason


def test_one_that_was_up_and_is_silent_does_not_answer(
    runtime: Path, silent: subprocess.Popen[bytes]
) -> None:
    assert absent(runtime, "capture", beat(silent.pid, "ready")).state == "failed"


def test_one_that_has_said_goodbye_is_stopped(runtime: Path, silent: subprocess.Popen[bytes]) -> None:
    assert absent(runtime, "capture", beat(silent.pid, "stopped")).state == "stopped"


def test_one_that_is_gone_is_stopped_or_failed_with_its_note(runtime: Path) -> None:
    assert absent(runtime, "capture").state == "stopped"
    FailureNote.write(runtime, "capture", "there is no camera")
    status = absent(runtime, "capture")
    assert (status.state, status.reason) == ("failed", "there is no camera")
