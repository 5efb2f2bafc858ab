"""Runs one carrier: a writing process, some reading ones; and says how long frames took and what it cost."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.terminal.problems import Problem

_ROOT = Path(__file__).resolve().parents[3]
SUBSCRIBING_S = 0.3
"""A subscription travels to the writer."""


@dataclass(frozen=True)
class Carried:
    """`lost`: frames that a reader did not see; `processor_s`: of all processes, for 1,000 frames."""

    latencies_us: list[float]
    lost: int
    processor_s: float


def carry(
    carrier: str,
    size: tuple[int, int] = (640, 480),
    readers: int = 2,
    frames: int = 600,
    hertz: float = 30.0,
    python: str = sys.executable,
) -> Carried:
    """Carry `frames` of `size` (width, height) to `readers` processes. Raises Problem."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/dev/shm") as folder:
        command = [python, "-m", "tools.bench.carriers.program", carrier]
        numbers = [folder, *map(str, (*size, readers, frames, hertz))]
        sides = ["write", *["read"] * readers]
        children: list[subprocess.Popen[str]] = []
        try:
            for side in sides:
                children.append(
                    subprocess.Popen(
                        [*command, side, *numbers],
                        cwd=_ROOT,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
                if side == "write":
                    _ready(children[0], carrier)
            for child in children[1:]:
                _ready(child, carrier)
            time.sleep(SUBSCRIBING_S)
            told = [_told(child, carrier, 60 + frames / hertz) for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()
    latencies = [latency for each in told[1:] for latency in each["latencies_us"]]
    spent = sum(each["processor_s"] for each in told)
    return Carried(latencies, readers * frames - len(latencies), spent / frames * 1000)


def _ready(child: subprocess.Popen[str], carrier: str) -> None:
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise Problem(f"{carrier} does not run: {_last_line(child.communicate()[1])}")


def _told(child: subprocess.Popen[str], carrier: str, within_s: float) -> dict[str, Any]:
    said, problems = child.communicate("\n", timeout=within_s)
    if child.returncode:
        raise Problem(f"{carrier} ended: {_last_line(problems)}")
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told


def _last_line(said: str) -> str:
    return said.rstrip().rpartition("\n")[2] or "it does not say why"
