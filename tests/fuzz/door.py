"""What a door is made of, and the run that feeds it.

class PageDoor(Door):
    name = "page"
    ...

DOOR = PageDoor  # in tests/fuzz/doors/page.py
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.fuzz import doors

MAY_GROW_MB = 32.0
"""What the processes behind a door may grow by after the first tenth of the inputs."""


class DoorFailed(AssertionError):
    """A process ended, or what stands behind the door does not answer any more."""


class Door(ABC):
    """A way into the car. Inputs are fed one by one; `settle` waits until they have been dealt with."""

    name: ClassVar[str]
    batch: ClassVar[int] = 50
    """Inputs between two calls of `settle`."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Start what stands behind the door. `folder` is new, below /tmp, and short enough for sockets."""

    @abstractmethod
    def feed(self, chance: random.Random) -> None:
        """Give one hostile input, drawn by `chance` alone. Raises DoorFailed where it did harm."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until all that was fed has been dealt with. Raises DoorFailed where that never comes."""

    def pids(self) -> Collection[int]:
        """The processes whose memory is watched: those behind the door, or this one."""
        return (os.getpid(),)

    @abstractmethod
    def close(self) -> None:
        """End what `open` started; also after it failed half-way."""


@dataclass(frozen=True)
class Report:
    """How one door took it. Memory is resident, of all its processes together, in MiB."""

    door: str
    inputs: int
    seconds: float
    before_mb: float
    after_mb: float
    failure: str = ""

    def __str__(self) -> str:
        verdict = self.failure or "no process ended, memory bounded"
        return (
            f"{self.door}: {self.inputs} inputs in {self.seconds:.0f} s, "
            f"{self.before_mb:.0f} → {self.after_mb:.0f} MB: {verdict}"
        )


def find() -> dict[str, type[Door]]:
    """Every door by its name."""
    found: dict[str, type[Door]] = {}
    for module in pkgutil.iter_modules(doors.__path__):
        door: type[Door] = importlib.import_module(f"{doors.__name__}.{module.name}").DOOR
        found[door.name] = door
    return found


def fuzz(kind: type[Door], inputs: int, seed: int) -> Report:
    """Feed so many inputs. The same seed feeds the same."""
    chance = random.Random(f"{kind.name} {seed}")
    began = time.monotonic()
    fed, before_mb, failure = 0, 0.0, ""
    door = kind()
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as folder:
        try:
            door.open(Path(folder))
            while fed < inputs:
                for _ in range(min(door.batch, inputs - fed)):
                    door.feed(chance)
                    fed += 1
                door.settle()
                if not before_mb and fed >= inputs / 10:
                    before_mb = memory_mb(door.pids())
            after_mb = memory_mb(door.pids())
            if after_mb > before_mb + MAY_GROW_MB:
                failure = f"memory grew by {after_mb - before_mb:.0f} MB"
        except DoorFailed as error:
            failure, after_mb = f"{error} (about input {fed})", before_mb
        finally:
            door.close()
    return Report(kind.name, fed, time.monotonic() - began, before_mb, after_mb, failure)


def memory_mb(pids: Collection[int]) -> float:
    """Resident memory of these processes together. Raises DoorFailed where one has ended."""
    total = 0.0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            raise DoorFailed(f"process {pid} has ended") from None
        lines = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        if not lines:
            raise DoorFailed(f"process {pid} has ended")
        total += int(lines[0].split()[1]) / 1024
    return total
