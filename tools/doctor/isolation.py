"""Runs checks, each in a process of its own with a time limit: one that hangs or crashes is a finding."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tools.doctor.finding import Check, Finding, error

AT_ONCE = 4
_REPORT = "make a bundle for a bug report: smartcar doctor --bundle report.tar.gz"


@dataclass
class _Running:
    check: Check
    pid: int
    pipe: int
    due: float
    said: bytes = b""


def run(
    checks: Iterable[Check], look: Callable[[Check], Iterable[Finding]]
) -> Iterator[tuple[Check, list[Finding]]]:
    """What `look(check)` finds for each, in their order, several at a time.

    A process that its driver holds fast can't be ended; it is left to the kernel, and nobody waits for it.
    """
    waiting = list(checks)
    order = list(waiting)
    running: dict[int, _Running] = {}
    found: dict[str, list[Finding]] = {}
    selector = selectors.DefaultSelector()
    try:
        while order:
            while waiting and len(running) < AT_ONCE:
                started = _start(waiting.pop(0), look)
                running[started.pipe] = started
                selector.register(started.pipe, selectors.EVENT_READ)
            wait_s = min(each.due for each in running.values()) - time.monotonic()
            for key, _ in selector.select(max(0.0, wait_s)):
                each = running[key.fd]
                chunk = os.read(key.fd, 1 << 16)
                each.said += chunk
                if not chunk:
                    _end(each, selector, running)
                    found[each.check.name] = _understood(each)
            for each in [each for each in running.values() if time.monotonic() > each.due]:
                _end(each, selector, running)
                found[each.check.name] = [_too_long(each.check)]
            while order and order[0].name in found:
                check = order.pop(0)
                yield check, found[check.name]
    finally:
        for each in list(running.values()):
            _end(each, selector, running)
        selector.close()


def _start(check: Check, look: Callable[[Check], Iterable[Finding]]) -> _Running:
    pipe, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()  # what the check starts is ended with it
            os.close(pipe)
            _silence()
            findings = _looked(check, look)
            with open(answer, "wb") as out:
                out.write(json.dumps([asdict(finding) for finding in findings]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(answer)
    return _Running(check, pid, pipe, time.monotonic() + check.limit_s)


def _looked(check: Check, look: Callable[[Check], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look(check))
    except Exception as problem:
        return [error(f"this check failed itself ({type(problem).__name__}: {problem})", _REPORT)]


def _silence() -> None:
    """Decoders and drivers chat on standard error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _end(each: _Running, selector: selectors.BaseSelector, running: dict[int, _Running]) -> None:
    del running[each.pipe]
    selector.unregister(each.pipe)
    os.close(each.pipe)
    for kill in (os.killpg, os.kill):
        try:
            kill(each.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # it has ended, or has no session of its own yet
    os.waitpid(each.pid, os.WNOHANG)


def _understood(each: _Running) -> list[Finding]:
    try:
        content: list[dict[str, Any]] = json.loads(each.said)
        return [Finding(**finding) for finding in content]
    except (ValueError, TypeError):
        return [error("this check's process crashed", _REPORT)]


def _too_long(check: Check) -> Finding:
    return error(
        f"no answer within {check.limit_s:.0f} s: what it looks at hangs",
        "see the lines of the other checks; unplug and plug in a device, or restart the machine",
    )
