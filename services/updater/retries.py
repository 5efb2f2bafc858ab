"""What is tried again by itself: later each time, and not by all cars at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from models.refusal import Refusal

FIRST_S, LONGEST_S = 5.0, 600.0


@dataclass
class _Retry:
    refusal: Refusal
    delay_s: float
    due: float
    waiting: bool = True


class Retries:
    """By digest. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._all: dict[str, _Retry] = {}

    def add(self, digest: str, refusal: Refusal) -> None:
        """It went wrong, again perhaps."""
        last = self._all.get(digest)
        delay_s = FIRST_S if last is None else min(LONGEST_S, 2 * last.delay_s)
        told = Refusal(refusal.reason, f"{refusal} It is tried again by itself.")
        self._all[digest] = _Retry(told, delay_s, self._clock() + delay_s * random.uniform(0.8, 1.2))

    def waiting(self, digest: str) -> Refusal | None:
        """What went wrong, while it isn't time yet."""
        retry = self._all.get(digest)
        return retry.refusal if retry is not None and retry.waiting else None

    def come_due(self) -> bool:
        """Whether it is time for any since the last call."""
        now, any_due = self._clock(), False
        for retry in self._all.values():
            if retry.waiting and retry.due <= now:
                retry.waiting, any_due = False, True
        return any_due

    def forget(self, digest: str) -> None:
        """It went well."""
        self._all.pop(digest, None)

    def clear(self) -> None:
        """Something was put right, perhaps."""
        self._all.clear()
