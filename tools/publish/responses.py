"""What the cars of a broker make of an offer: each car's state and steps, heard as they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from messages.errors import ErrorCode
from messages.message import MalformedMessage, decode
from messages.models import ENDED, ModelProgress, ModelState, Step
from messages.offers import ROOT, offer_change
from services.bridge.documents import CarStatus
from tools.publish.mqtt_client import Received
from tools.publish.publication import WANTED_PATTERN

PATTERNS = ("smartcar/+/status", "smartcar/+/state/model", "smartcar/+/event/model", WANTED_PATTERN)
"""What to subscribe to."""

AWAY = frozenset({"lost", "stopped"})
_AGAIN = frozenset({ErrorCode.INCOMPLETE, ErrorCode.BUSY})
"""Not taken yet, and tried again by the car itself."""

ResponseState = Literal["", "pending", "held", "taken", "refused"]


@dataclass(frozen=True)
class CarResponse:
    """What a car makes of the offer. `held`: the offer names other cars, which go first."""

    car: str
    here: bool = False
    """Whether it is connected."""
    follows: bool = False
    verdict: ResponseState = ""
    """Empty: nothing was heard of this offer."""
    step: Step | None = None
    """The latest that it told."""
    percent: int = 0
    reason: str = ""
    sentence: str = ""
    state: str = ""
    """Of the whole car: `ready`, `degraded`, …"""

    @property
    def final(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self.verdict in ("held", "taken", "refused")


class CarResponses:
    """Keeps one response a car. `take` what comes on PATTERNS; offers of other digests are passed over."""

    def __init__(self, name: str, digest: str) -> None:
        self.name, self.digest = name, digest
        self.by_car: dict[str, CarResponse] = {}
        self._change = offer_change(digest)

    def take(self, came: Received) -> CarResponse | None:
        """The car's response, where the message changed it."""
        parts = came.topic.split("/")
        if len(parts) < 3 or came.topic.startswith(ROOT):
            return None
        car, topic = parts[1], "/".join(parts[2:])
        before = self.by_car.get(car, CarResponse(car))
        try:
            after = self._after(before, topic, came.payload)
        except (ValidationError, MalformedMessage):
            return None  # of another version of smartcar, or somebody's idea of fun
        self.by_car[car] = after
        return after if after != before else None

    @property
    def awaited(self) -> list[CarResponse]:
        """Of the followers that are connected, those whose last word isn't heard."""
        return [each for each in self.by_car.values() if each.here and each.follows and not each.final]

    @property
    def away(self) -> list[CarResponse]:
        """Followers that aren't connected: they take the offer when they are back."""
        return [each for each in self.by_car.values() if not each.here and each.follows]

    def _after(self, before: CarResponse, topic: str, payload: bytes) -> CarResponse:
        if topic == "status":
            if not payload:
                return replace(before, here=False, state="")
            state = CarStatus.model_validate_json(payload).state
            return replace(before, here=state not in AWAY, state=state)
        if topic == "state/model" and payload:
            return self._by_state(before, decode(ModelState, payload))
        if topic == "event/model":
            return self._by_step(before, decode(ModelProgress, payload))
        return before

    def _by_state(self, before: CarResponse, state: ModelState) -> CarResponse:
        now = replace(before, follows=self.name in state.follows)
        if state.active.digest == self.digest:
            return replace(now, verdict="taken", step="active", percent=100, reason="", sentence="")
        offer = next((each for each in state.offers if each.digest == self.digest), None)
        if offer is None:
            return now
        if not offer.reason:
            return replace(now, verdict="pending", percent=max(offer.percent, now.percent))
        verdict: ResponseState = (
            "held"
            if offer.reason == ErrorCode.NOT_YET
            else "pending"
            if offer.reason in _AGAIN
            else "refused"
        )
        return replace(now, verdict=verdict, reason=offer.reason, sentence=offer.sentence)

    def _by_step(self, before: CarResponse, step: ModelProgress) -> CarResponse:
        if step.change != self._change:
            return before
        verdict: ResponseState = "pending"
        if step.step == "active":
            verdict = "taken"
        elif step.step in ENDED:
            verdict = "pending" if step.reason in _AGAIN else "refused"
        return replace(
            before,
            verdict=verdict,
            step=step.step,
            percent=step.percent,
            reason=step.reason,
            sentence=step.sentence,
        )
