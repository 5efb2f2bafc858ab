"""systemd, as the installer needs it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

from services.catalogue import SERVICES
from tools.terminal.problems import Problem

TARGET = "smartcar.target"
UNITS = {name: f"smartcar-{name}.service" for name in SERVICES}
UP_WITHIN_S = 120.0
STEADY_S = 3.0
"""So long everything is to run before it counts as running."""
_LOOK_S = 0.25


def run(*words: str, may_fail: bool = False) -> str:
    """What the command prints. Raises Problem where it fails, with its last words."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        why = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise Problem(f"{' '.join(words)} failed: {why.splitlines()[-1]}.")
    return done.stdout


def version() -> int:
    """Of systemd."""
    found = re.match(r"systemd (\d+)", run("systemctl", "--version"))
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Unit:
    """How a service's unit is."""

    service: str
    active: bool
    failed: bool
    masked: bool
    result: str
    restarts: int


def look() -> list[Unit]:
    units = []
    for service, unit in UNITS.items():
        shown = run("systemctl", "show", "-p", "ActiveState,LoadState,Result,NRestarts", unit)
        facts = dict(line.partition("=")[::2] for line in shown.splitlines())
        units.append(
            Unit(
                service=service,
                active=facts.get("ActiveState") == "active",
                failed=facts.get("ActiveState") == "failed",
                masked=facts.get("LoadState") == "masked",
                result=facts.get("Result", ""),
                restarts=int(facts.get("NRestarts") or 0),
            )
        )
    return units


def wait_until_up(within_s: float = UP_WITHIN_S) -> list[Unit]:
    """Wait until all services run and go on running; returns those that don't."""
    deadline = time.monotonic() + within_s
    steady_since, seen = time.monotonic(), None
    while True:
        units = [unit for unit in look() if not unit.masked]
        ailing = [unit for unit in units if not unit.active]
        now = time.monotonic()
        if ailing or units != seen:
            steady_since, seen = now, units
        if not ailing and now - steady_since >= STEADY_S:
            return []
        if any(unit.failed for unit in ailing) or now >= deadline:
            return ailing or units
        time.sleep(_LOOK_S)


def last_words(service: str, lines: int = 6) -> list[str]:
    """The end of a service's log."""
    shown = run(
        "journalctl", "-u", UNITS[service], "_COMM=python", "-o", "cat", "-n", str(lines), "--no-pager",
        may_fail=True,
    )  # fmt: skip
    return [line for line in shown.splitlines() if line.strip()]


def restart(units: Iterable[str] = (TARGET,)) -> None:
    """Start what doesn't run and restart what does, also what was given up."""
    run("systemctl", "reset-failed", *UNITS.values(), may_fail=True)
    run("systemctl", "restart", *units)
