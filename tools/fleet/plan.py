"""What a rollout does next: wait, let more cars have the model, stop, or be done. No input, no output.

All of it follows from which cars the offer names, and from how these do. So whoever reads the offer can go on
with the rollout, and nothing else has to be remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from tools.fleet.health import PENDING, RolloutState
from tools.terminal.problems import Problem

_WAVE = re.compile(r"(?P<count>[1-9]\d{0,5})|(?P<percent>\d{1,2}(\.\d+)?)\s*%")


@dataclass(frozen=True)
class Wave:
    """How many cars have to do well with the model before the next wave. Both None: all may have it."""

    count: int | None = None
    percent: float | None = None

    def target(self, total: int) -> int | None:
        """In cars, of `total`; None: all."""
        if self.percent is not None:
            return max(1, round(total * self.percent / 100))
        return self.count


ALL = Wave()


def parse_waves(text: str) -> tuple[Wave, ...]:
    """`1,5,all` or `1,10%,all`: how many cars in all are to have it after each wave. Raises Problem."""
    waves: list[Wave] = []
    for part in (each.strip().lower() for each in text.split(",")):
        found = _WAVE.fullmatch(part)
        if part in ("all", "100%"):
            waves.append(ALL)
        elif found is None or (found["percent"] and float(found["percent"]) == 0):
            raise Problem(f"{part!r} is no wave; give numbers of cars, shares or all, such as 1,10%,all.")
        else:
            count, percent = found["count"], found["percent"]
            waves.append(Wave(int(count)) if count else Wave(percent=float(percent)))
    for earlier, later in pairwise(waves):
        if earlier == ALL:
            raise Problem("Nothing comes after all: write it as the last wave.")
        for size in ("count", "percent"):
            first, second = getattr(earlier, size), getattr(later, size)
            if first is not None and second is not None and second <= first:
                raise Problem(
                    f"Waves grow: each says how many cars in all are to have it, and {second:g} is not "
                    f"more than {first:g}."
                )
    return tuple(waves)


@dataclass(frozen=True)
class Situation:
    """Where a rollout stands.

    `released`: whom the offer names, None: all. `verdicts`: of each car that may have it. `candidates`: cars
    that could be next, in their order: on, following, not pinned. `everyone`: whom the last wave names.
    `total`: cars it is for, off ones too.
    """

    released: tuple[str, ...] | None
    verdicts: Mapping[str, RolloutState]
    candidates: tuple[str, ...]
    everyone: tuple[str, ...] | None
    total: int


@dataclass(frozen=True)
class Wait:
    """Nothing to do yet. `unproven`: nobody is left who could show how the model does."""

    unproven: bool = False


@dataclass(frozen=True)
class Widen:
    """Have the offer name these; None: all. `new` are those that were not named before."""

    cars: tuple[str, ...] | None
    new: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop:
    """More cars failed than may."""

    failed: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""


Action: TypeAlias = Wait | Widen | Stop | Done


def decide(situation: Situation, waves: Sequence[Wave], max_failures: int) -> Action:
    verdicts = situation.verdicts
    failed = tuple(car for car, verdict in verdicts.items() if verdict is RolloutState.FAILED)
    if len(failed) > max_failures:
        return Stop(failed)
    if not PENDING.isdisjoint(verdicts.values()):
        return Wait()
    if situation.released is None or situation.released == situation.everyone:
        return Done()
    released = situation.released
    healthy = sum(verdict is RolloutState.HEALTHY for verdict in verdicts.values())
    for place, wave in enumerate(waves):
        target = wave.target(situation.total)
        if target is None:
            proven = healthy > 0 or place == 0
            return Widen(situation.everyone, situation.candidates) if proven else Wait(unproven=True)
        if target <= healthy:
            continue
        new = situation.candidates[: target - healthy]
        if new:
            return Widen(released + new, new)
        if healthy == 0:
            return Wait(unproven=True)
    return Done()
