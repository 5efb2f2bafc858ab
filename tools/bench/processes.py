"""What processes need, read from /proc: memory, processor time, when they began."""

from __future__ import annotations

import os
import time
from pathlib import Path

from services.catalogue import SERVICES

_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> dict[str, int]:
    """All processes below `root`, by what they do."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
            except (OSError, IndexError):
                continue
    found = {"up": root}
    queue = [root]
    while queue:
        parent = queue.pop()
        for pid in [child for child, its in parents.items() if its == parent]:
            queue.append(pid)
            found[_what(pid)] = pid
    return found


def cpu_seconds(processes: dict[str, int]) -> dict[str, float]:
    """Processor time that each has spent so far."""
    return {
        name: (int(fields[11]) + int(fields[12])) / _TICKS
        for name, fields in ((name, _stat(pid)) for name, pid in processes.items())
    }


def pss_mb(pid: int) -> float:
    """The proportional set size in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def began_s(pid: int) -> float:
    """When the process began, in seconds of time.monotonic(); to a hundredth."""
    since_boot = int(_stat(pid)[19]) / _TICKS
    return since_boot - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()


def _what(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    for name in SERVICES:
        if name in words:
            return name
    return "capture reader" if "services.capture.reader" in words else "broker"


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
