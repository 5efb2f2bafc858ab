"""What a service counts and times between two heartbeats."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path

SHORTEST_S = 0.5
"""Rates and shares are computed over at least this long: over a sliver of time they would be noise."""
_SAMPLES = 512
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Metrics:
    """Counters since the start of the process; rates and latencies over the last beat."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._taken_ns = time.monotonic_ns()
        self._samples: dict[str, deque[float]] = {}
        self._rates: dict[str, float] = {}
        self._latencies: dict[str, float] = {}

    def count(self, what: str, by: int = 1) -> None:
        self.counters[what] += by

    def observe(self, what: str, milliseconds: float) -> None:
        """Remember one duration; only the newest few hundred of a beat are kept."""
        self._samples.setdefault(what, deque(maxlen=_SAMPLES)).append(milliseconds)

    def take(self) -> tuple[dict[str, float], dict[str, float]]:
        """Rates per second and latency percentiles in ms, since they were last computed.

        Within SHORTEST_S of that they stay as they were: a heartbeat may follow another at once.
        """
        now_ns = time.monotonic_ns()
        elapsed_s = (now_ns - self._taken_ns) / 1e9
        if elapsed_s < SHORTEST_S:
            return self._rates, self._latencies
        self._rates = {
            what: round((count - self._before[what]) / elapsed_s, 2) for what, count in self.counters.items()
        }
        self._latencies = {}
        for what, samples in self._samples.items():
            if samples:
                ordered = sorted(samples)
                self._latencies[f"{what}.p50"] = round(ordered[len(ordered) // 2], 3)
                self._latencies[f"{what}.p95"] = round(ordered[len(ordered) * 95 // 100], 3)
                samples.clear()
        self._before = self.counters.copy()
        self._taken_ns = now_ns
        return self._rates, self._latencies


def memory_mb(helpers: Iterable[int] = ()) -> float:
    """The proportional set size of this process and its `helpers` (process ids), in MiB.

    Shared pages count by their share. 0 where unknown.
    """
    return sum(_pss_kb(str(who)) for who in ("self", *helpers)) / 1024


def _pss_kb(who: str) -> int:
    try:
        for line in Path(f"/proc/{who}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


class ProcessorShare:
    """How busy this process keeps the processor: in percent of one core, its helpers included."""

    def __init__(self) -> None:
        self._spent_s = self._spent(())
        self._taken = time.monotonic()
        self._share = 0.0

    def take(self, helpers: Iterable[int] = ()) -> float:
        """The share since it was last computed; `helpers` are the process ids of living children."""
        elapsed_s = time.monotonic() - self._taken
        if elapsed_s < SHORTEST_S:
            return self._share
        spent_s = self._spent(helpers)
        # A helper that has just died counts again once it is reaped: never below zero.
        self._share = max(0.0, 100 * (spent_s - self._spent_s) / elapsed_s)
        self._spent_s, self._taken = spent_s, self._taken + elapsed_s
        return self._share

    def _spent(self, helpers: Iterable[int]) -> float:
        own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in own) + sum(map(_processor_s, helpers))


def _processor_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S
    except (OSError, ValueError, IndexError):
        return 0.0


MEMORY_EVERY_BEATS = 10
"""Reading it takes milliseconds."""


class Vitals:
    """What this process and its helpers need, taken with each heartbeat."""

    def __init__(self) -> None:
        self.memory_mb = 0.0
        self.processor_percent = 0.0
        self._processor = ProcessorShare()
        self._beats = 0

    def take(self, helpers: Iterable[int]) -> None:
        """`helpers`: the process ids of those that work for this one."""
        if self._beats % MEMORY_EVERY_BEATS == 0:
            self.memory_mb = round(memory_mb(helpers), 1)
        self.processor_percent = round(self._processor.take(helpers), 1)
        self._beats += 1
