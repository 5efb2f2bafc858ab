"""`smartcar bench bus`: from a frame in one process to a usable array in others."""

from __future__ import annotations

from tools.bench.carriers.carry import carry
from tools.bench.report import Figure, spread

LATENCY_GOAL_US = 600.0
CPU_GOAL_S = 0.9


def measure(
    frames: int = 600, readers: int = 2, hertz: float = 30.0, width: int = 640, height: int = 480
) -> list[Figure]:
    """Carry `frames` at `hertz` to `readers` processes, as capture does. Raises Problem."""
    carried = carry("ours", (width, height), readers, frames, hertz)
    title = f"{width}×{height}, publish to array in {readers} readers"
    return [
        *spread(title, carried.latencies_us, "µs", LATENCY_GOAL_US),
        Figure("frames that a reader did not see", carried.lost, ""),
        Figure("processor time per 1,000 frames, all processes", carried.processor_s, "s", CPU_GOAL_S),
    ]
