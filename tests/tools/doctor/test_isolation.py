"""A check that hangs, crashes or raises is a line of the answer, and holds up nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tools.doctor.finding import Check, Finding, ok
from tools.doctor.isolation import run

Look = Callable[[], Iterable[Finding]]


def findings(looks: dict[str, Look], limit_s: float = 10.0) -> dict[str, list[Finding]]:
    """What `run` makes of checks called so."""
    checks = [Check(name, "", "", limit_s) for name in looks]
    return {check.name: found for check, found in run(checks, lambda check: looks[check.name]())}


def well() -> Iterator[Finding]:
    yield ok("fine")


def hang() -> Iterator[Finding]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(10)
    yield ok("never")


def crash() -> Iterator[Finding]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield ok("never")


def fail() -> Iterator[Finding]:
    yield ok("so far")
    raise RuntimeError("no such luck")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_findings_come_in_the_order_of_the_checks() -> None:
    names = [f"check{number}" for number in range(9)]
    assert list(findings(dict.fromkeys(names, well))) == names


def test_a_check_that_hangs_is_ended_at_its_limit_and_the_others_are_heard() -> None:
    began = time.monotonic()
    found = findings({"first": hang, "second": well}, 0.5)
    assert time.monotonic() - began < 5
    assert [each.level for each in found["first"]] == ["error"]
    assert "no answer within" in found["first"][0].sentence
    assert found["second"] == [ok("fine")]


def test_what_a_hanging_check_has_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def start_and_hang() -> Iterator[Finding]:
        child = subprocess.Popen(["sleep", "60"])
        (tmp_path / "new").write_text(str(child.pid))
        (tmp_path / "new").rename(note)
        child.wait()
        yield ok("never")

    findings({"only": start_and_hang}, 2.0)
    wait_for(lambda: not lives(int(note.read_text())))


def test_a_check_that_crashes_is_an_error() -> None:
    assert "crashed" in findings({"only": crash})["only"][0].sentence


def test_a_check_that_raises_says_what() -> None:
    [finding] = findings({"only": fail})["only"]
    assert "RuntimeError: no such luck" in finding.sentence
    assert "--bundle" in finding.remedy


def test_what_a_check_prints_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    def chat() -> Iterator[Finding]:
        os.write(1, b"chatter")
        os.write(2, b"chatter")
        yield ok("fine")

    findings({"only": chat})
    out, err = capfd.readouterr()
    assert "chatter" not in out + err
