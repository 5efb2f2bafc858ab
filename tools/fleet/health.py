"""How a car does with a model that is rolled out. What was heard goes in, a verdict comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from messages.errors import ErrorCode
from messages.message import Part
from tools.fleet.fleet_state import FleetCar

AFTER_S = 2.5
"""`metrics` that came sooner count frames of before: each beat counts those of the last second."""
SLOW = 0.5
"""Fewer frames than this share of those before are too few."""

_LEAVES_IT = frozenset({ErrorCode.PINNED, ErrorCode.OLDER, ErrorCode.NOT_FOR_THIS_CAR, ErrorCode.REPLACED})
"""The car has something else by its owner's will, or it is not meant."""
_TRIES_AGAIN = frozenset({ErrorCode.NOT_YET, ErrorCode.BUSY, ErrorCode.INCOMPLETE, ErrorCode.TIMED_OUT})
"""The car goes on by itself."""


class RolloutState(StrEnum):
    """Of one car. `off` and `left_out` speak neither for the model nor against it."""

    OFF = "off"
    LEFT_OUT = "left_out"
    WAITING = "waiting"
    TAKING = "taking"
    SETTLING = "settling"
    HEALTHY = "healthy"
    FAILED = "failed"


PENDING = frozenset({RolloutState.WAITING, RolloutState.TAKING, RolloutState.SETTLING})


class Baseline(Part):
    """How a car was when it was let have the model. `hertz`: frames read a second, None where unknown."""

    state: str = "ready"
    digest: str = ""
    hertz: float | None = None


@dataclass(frozen=True)
class CarCondition:
    """A car at one moment. `bridge` and `recognizer` name the runs of these processes."""

    on: bool
    state: str = ""
    reason: str = ""
    active: str = ""
    title: str = ""
    under_way: bool = False
    on_trial: bool = False
    refusal: str = ""
    """Why it doesn't take the offer: a code, and a sentence."""
    sentence: str = ""
    hertz: float | None = None
    hertz_at: float = 0.0
    bridge: str = ""
    recognizer: str = ""

    @classmethod
    def at(cls, car: FleetCar, digest: str, now: float, listening_since: float) -> CarCondition:
        """The car as the fleet has it."""
        state = car.state(now, listening_since)
        if car.away or state == "silent" or car.model is None or car.status is None:
            return cls(on=False, state=state)
        offer = next((each for each in car.model.offers if each.digest == digest), None)
        return cls(
            on=True,
            state=state,
            reason=car.status.reason,
            active=car.model.active.digest,
            title=f"{car.model.active.name} {car.model.active.version}",
            on_trial=car.model.trial is not None and car.model.trial.digest == digest,
            under_way=offer is not None and not offer.reason,
            refusal=offer.reason if offer is not None else "",
            sentence=offer.sentence if offer is not None else "",
            hertz=car.reads_hertz,
            hertz_at=car.metrics_at,
            bridge=car.status.bridge,
            recognizer=car.recognizer.boot_id if car.recognizer is not None else "",
        )

    def before(self) -> Baseline:
        """What a later condition is compared with."""
        return Baseline(state=self.state, digest=self.active, hertz=self.hertz)


@dataclass(frozen=True)
class RolloutTerms:
    """A car must be well for `settle_s` seconds, and take the model within `patience_s` while it is on.

    One that isn't well may become so within `grace_s`: a little more than from `metrics` to `metrics`.
    """

    settle_s: float = 30.0
    patience_s: float = 300.0
    grace_s: float = 12.0


class HealthMonitor:
    """On one car, from when it was let have the model. `judge` is called again and again, time going on."""

    def __init__(self, digest: str, before: Baseline, terms: RolloutTerms) -> None:
        self.verdict, self.reason = RolloutState.WAITING, ""
        self._digest, self._before, self._terms = digest, before, terms
        self._on_s = 0.0
        self._last_judged: float | None = None
        self._taken: CarCondition | None = None
        self._taken_at = 0.0
        self._well_since: float | None = None
        self._ill_since: float | None = None
        self._lost_since: float | None = None
        self._has_read = self._proven = False
        """It has read with the model, on trial at least; it was well with it."""

    def judge(self, condition: CarCondition, now: float) -> RolloutState:
        """How it does now. Once failed is failed."""
        passed_s = 0.0 if self._last_judged is None else now - self._last_judged
        self._last_judged = now
        if self.verdict is RolloutState.FAILED:
            return self.verdict
        self.reason = ""
        if not condition.on:
            self.verdict = self._without_a_word(condition, now)
            return self.verdict
        self._lost_since = None
        if condition.active == self._digest:
            self.verdict = self._with_it(condition, now)
        else:
            self._on_s += passed_s
            self.verdict = self._without_it(condition)
        self._has_read = condition.on_trial or self._taken is not None
        self._proven = self._proven or self.verdict is RolloutState.HEALTHY
        return self.verdict

    def _without_a_word(self, condition: CarCondition, now: float) -> RolloutState:
        """A car that is switched off says goodbye; one lost with a new model may have been hung by it."""
        self._well_since = self._ill_since = None
        if condition.state == "stopped" or self._proven or not self._has_read:
            return RolloutState.OFF
        self._lost_since = now if self._lost_since is None else self._lost_since
        if now - self._lost_since > self._terms.patience_s:
            return self._fail(
                f"it was lost with it, and did not come back within {self._terms.patience_s:g} s"
            )
        self.reason = "it was lost with it; does it come back?"
        return RolloutState.SETTLING

    def _without_it(self, condition: CarCondition) -> RolloutState:
        if self._taken is not None:
            return self._fail(f"it went back to {condition.title}")
        if condition.refusal in _LEAVES_IT:
            self.reason = f"{condition.refusal}: {condition.sentence}"
            return RolloutState.LEFT_OUT
        if condition.refusal and condition.refusal not in _TRIES_AGAIN:
            return self._fail(f"{condition.refusal}: {condition.sentence}")
        if self._on_s > self._terms.patience_s:
            why = f"; {condition.sentence}" if condition.sentence else ""
            return self._fail(f"it did not take it within {self._terms.patience_s:g} s{why}")
        return RolloutState.TAKING if condition.under_way else RolloutState.WAITING

    def _with_it(self, condition: CarCondition, now: float) -> RolloutState:
        taken = self._taken
        if taken is None or taken.bridge != condition.bridge:  # or the whole car was started anew
            self._taken, self._taken_at = condition, now
            self._well_since = self._ill_since = None
        elif taken.recognizer != condition.recognizer:
            return self._fail("its recognizer ended since it reads with it, and was started again")
        if illness := self._illness(condition):
            self._well_since = None
            self._ill_since = now if self._ill_since is None else self._ill_since
            if now - self._ill_since >= self._terms.grace_s:
                return self._fail(illness)
            self.reason = illness
            return RolloutState.SETTLING
        self._ill_since = None
        if condition.state == "starting":
            self._well_since = None
            return RolloutState.SETTLING
        self._well_since = now if self._well_since is None else self._well_since
        settled = now - self._well_since >= self._terms.settle_s
        return (
            RolloutState.HEALTHY if settled and self._has_shown_readings(condition) else RolloutState.SETTLING
        )

    def _illness(self, condition: CarCondition) -> str:
        """What is worse than before."""
        before = self._before
        if before.state == "ready" and condition.state not in ("ready", "starting"):
            return f"it is {condition.state}: {condition.reason}"
        now, then = condition.hertz, before.hertz
        if now is not None and then and self._counts_again(condition) and now < then * SLOW:
            return f"it reads {now:g} frames a second, {then:g} before"
        return ""

    def _has_shown_readings(self, condition: CarCondition) -> bool:
        return not self._before.hertz or self._counts_again(condition)

    def _counts_again(self, condition: CarCondition) -> bool:
        return condition.hertz_at > self._taken_at + AFTER_S

    def _fail(self, reason: str) -> RolloutState:
        self.reason = reason
        return RolloutState.FAILED
