"""How a car does with a model that is rolled out. What was heard goes in, a verdict comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from messages.message import Part
from models.refusal import Reason
from tools.fleet.roster import Car

AFTER_S = 2.5
"""`metrics` that came sooner count frames of before: each beat counts those of the last second."""
SLOW = 0.5
"""Fewer frames than this share of those before are too few."""

_LEAVES_IT = frozenset({Reason.PINNED, Reason.OLDER, Reason.NOT_FOR_THIS_CAR, Reason.REPLACED})
"""The car has something else by its owner's will, or it is not meant."""
_TRIES_AGAIN = frozenset({Reason.NOT_YET, Reason.BUSY, Reason.INCOMPLETE, Reason.TIMED_OUT})
"""The car goes on by itself."""


class Verdict(StrEnum):
    """Of one car. `off` and `left_out` speak neither for the model nor against it."""

    OFF = "off"
    LEFT_OUT = "left_out"
    WAITING = "waiting"
    TAKING = "taking"
    SETTLING = "settling"
    HEALTHY = "healthy"
    FAILED = "failed"


PENDING = frozenset({Verdict.WAITING, Verdict.TAKING, Verdict.SETTLING})


class Before(Part):
    """How a car was when it was let have the model. `hertz`: frames read a second, None where unknown."""

    state: str = "ready"
    digest: str = ""
    hertz: float | None = None


@dataclass(frozen=True)
class Look:
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
    def at(cls, car: Car, digest: str, now: float, listening_since: float) -> Look:
        """The car as the roster has it."""
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

    def before(self) -> Before:
        """What a later look is compared with."""
        return Before(state=self.state, digest=self.active, hertz=self.hertz)


@dataclass(frozen=True)
class Terms:
    """A car must be well for `settle_s` seconds, and take the model within `patience_s` while it is on.

    One that isn't well may become so within `grace_s`: a little more than from `metrics` to `metrics`.
    """

    settle_s: float = 30.0
    patience_s: float = 300.0
    grace_s: float = 12.0


class Watch:
    """On one car, from when it was let have the model. `judge` is called again and again, time going on."""

    def __init__(self, digest: str, before: Before, terms: Terms) -> None:
        self.verdict, self.reason = Verdict.WAITING, ""
        self._digest, self._before, self._terms = digest, before, terms
        self._on_s = 0.0
        self._last_judged: float | None = None
        self._taken: Look | None = None
        self._taken_at = 0.0
        self._well_since: float | None = None
        self._ill_since: float | None = None
        self._lost_since: float | None = None
        self._has_read = self._proven = False
        """It has read with the model, on trial at least; it was well with it."""

    def judge(self, look: Look, now: float) -> Verdict:
        """How it does now. Once failed is failed."""
        passed_s = 0.0 if self._last_judged is None else now - self._last_judged
        self._last_judged = now
        if self.verdict is Verdict.FAILED:
            return self.verdict
        self.reason = ""
        if not look.on:
            self.verdict = self._without_a_word(look, now)
            return self.verdict
        self._lost_since = None
        if look.active == self._digest:
            self.verdict = self._with_it(look, now)
        else:
            self._on_s += passed_s
            self.verdict = self._without_it(look)
        self._has_read = look.on_trial or self._taken is not None
        self._proven = self._proven or self.verdict is Verdict.HEALTHY
        return self.verdict

    def _without_a_word(self, look: Look, now: float) -> Verdict:
        """A car that is switched off says goodbye; one lost with a new model may have been hung by it."""
        self._well_since = self._ill_since = None
        if look.state == "stopped" or self._proven or not self._has_read:
            return Verdict.OFF
        self._lost_since = now if self._lost_since is None else self._lost_since
        if now - self._lost_since > self._terms.patience_s:
            return self._fail(
                f"it was lost with it, and did not come back within {self._terms.patience_s:g} s"
            )
        self.reason = "it was lost with it; does it come back?"
        return Verdict.SETTLING

    def _without_it(self, look: Look) -> Verdict:
        if self._taken is not None:
            return self._fail(f"it went back to {look.title}")
        if look.refusal in _LEAVES_IT:
            self.reason = f"{look.refusal}: {look.sentence}"
            return Verdict.LEFT_OUT
        if look.refusal and look.refusal not in _TRIES_AGAIN:
            return self._fail(f"{look.refusal}: {look.sentence}")
        if self._on_s > self._terms.patience_s:
            why = f"; {look.sentence}" if look.sentence else ""
            return self._fail(f"it did not take it within {self._terms.patience_s:g} s{why}")
        return Verdict.TAKING if look.under_way else Verdict.WAITING

    def _with_it(self, look: Look, now: float) -> Verdict:
        taken = self._taken
        if taken is None or taken.bridge != look.bridge:  # or the whole car was started anew
            self._taken, self._taken_at = look, now
            self._well_since = self._ill_since = None
        elif taken.recognizer != look.recognizer:
            return self._fail("its recognizer ended since it reads with it, and was started again")
        if illness := self._illness(look):
            self._well_since = None
            self._ill_since = now if self._ill_since is None else self._ill_since
            if now - self._ill_since >= self._terms.grace_s:
                return self._fail(illness)
            self.reason = illness
            return Verdict.SETTLING
        self._ill_since = None
        if look.state == "starting":
            self._well_since = None
            return Verdict.SETTLING
        self._well_since = now if self._well_since is None else self._well_since
        settled = now - self._well_since >= self._terms.settle_s
        return Verdict.HEALTHY if settled and self._has_shown_readings(look) else Verdict.SETTLING

    def _illness(self, look: Look) -> str:
        """What is worse than before."""
        before = self._before
        if before.state == "ready" and look.state not in ("ready", "starting"):
            return f"it is {look.state}: {look.reason}"
        now, then = look.hertz, before.hertz
        if now is not None and then and self._counts_again(look) and now < then * SLOW:
            return f"it reads {now:g} frames a second, {then:g} before"
        return ""

    def _has_shown_readings(self, look: Look) -> bool:
        return not self._before.hertz or self._counts_again(look)

    def _counts_again(self, look: Look) -> bool:
        return look.hertz_at > self._taken_at + AFTER_S

    def _fail(self, reason: str) -> Verdict:
        self.reason = reason
        return Verdict.FAILED
