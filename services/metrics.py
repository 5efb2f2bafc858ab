"""What a service counts and times between two heartbeats."""

from __future__ import annotations

import time
from collections import Counter, deque
from pathlib import Path

_SAMPLES = 512
_SMAPS = Path("/proc/self/smaps_rollup")


class Metrics:
    """Counters since the start of the process; rates and latencies since the last `take`."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._taken_ns = time.monotonic_ns()
        self._samples: dict[str, deque[float]] = {}

    def count(self, what: str, by: int = 1) -> None:
        self.counters[what] += by

    def observe(self, what: str, milliseconds: float) -> None:
        """Remember one duration; only the newest few hundred of a beat are kept."""
        self._samples.setdefault(what, deque(maxlen=_SAMPLES)).append(milliseconds)

    def take(self) -> tuple[dict[str, float], dict[str, float]]:
        """(rates per second, latency percentiles in ms) since the last call."""
        now_ns = time.monotonic_ns()
        elapsed_s = max((now_ns - self._taken_ns) / 1e9, 1e-9)
        rates = {
            what: round((count - self._before[what]) / elapsed_s, 2) for what, count in self.counters.items()
        }
        latencies: dict[str, float] = {}
        for what, samples in self._samples.items():
            if samples:
                ordered = sorted(samples)
                latencies[f"{what}.p50"] = round(ordered[len(ordered) // 2], 3)
                latencies[f"{what}.p95"] = round(ordered[len(ordered) * 95 // 100], 3)
                samples.clear()
        self._before = self.counters.copy()
        self._taken_ns = now_ns
        return rates, latencies


def memory_mb() -> float:
    """This process's proportional set size in MiB: shared pages count by their share. 0 where unknown."""
    try:
        for line in _SMAPS.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0.0
