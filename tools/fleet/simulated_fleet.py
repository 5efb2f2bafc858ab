"""Simulated cars as their owner sees them: processes that run so many each, and end with their owner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from services.config import Mqtt

PER_PROCESS = 10
"""Some 75 open files each, and paho can't use a file whose number is above 1023."""
LIGHT_PER_PROCESS = 125
END_WITHIN_S = 30.0
_ROOT = Path(__file__).resolve().parent.parent.parent


class SimulationSettings(BaseModel):
    """What a process of simulated cars is told on its first line."""

    cars: tuple[str, ...]
    root: str
    """Where each has its folders; on tmpfs, and short."""
    mqtt: Mqtt
    follow: tuple[str, ...] = ("digits",)
    trust: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    trial_s: float = 1.0
    metrics_s: float = 10.0
    """How often they publish `metrics`."""
    hertz: int = 30
    """Frames that each counts a second; 0: as if the camera were paused."""


class SimulatedFleet:
    """Processes that run the cars of `settings`."""

    def __init__(self, settings: SimulationSettings, per_process: int = 0, *, light: bool = False) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        per_process = per_process or (LIGHT_PER_PROCESS if light else PER_PROCESS)
        module = "light_cars" if light else "simulated_cars"
        for first in range(0, len(settings.cars), per_process):
            part = settings.model_copy(update={"cars": settings.cars[first : first + per_process]})
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"tools.fleet.{module}"],
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.PIPE,
            )
            self._processes.append(process)
            _tell(process.stdin, part)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        """Have them say goodbye."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []

    def kill(self) -> None:
        """As a power cut would."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []


@contextmanager
def simulated_fleet(
    settings: SimulationSettings, per_process: int = 0, *, light: bool = False
) -> Iterator[SimulatedFleet]:
    """Simulated cars for the length of a block; `light` ones say and hear what cars do, no more."""
    running = SimulatedFleet(settings, per_process, light=light)
    try:
        yield running
    finally:
        running.stop()


def numbered(count: int) -> tuple[str, ...]:
    return tuple(f"car{number}" for number in range(1, count + 1))


def _tell(pipe: IO[bytes] | None, settings: SimulationSettings) -> None:
    assert pipe is not None
    pipe.write(settings.model_dump_json().encode() + b"\n")
    pipe.flush()
