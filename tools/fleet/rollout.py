"""`smartcar fleet rollout`: an offer that names more and more cars, while those that have it stay well.

What is to be done `plan` decides; here it is done. Whatever ends this process, the offer names just the cars
that may have the model, and its note says how they were before: the same command goes on from there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from messages.offers import Offer
from models.bundle.payload import payload_of
from services.config import Mqtt
from tools.fleet.fleet_state import PATTERNS, FleetCar, FleetState
from tools.fleet.health import Baseline, CarCondition, HealthMonitor, RolloutState, RolloutTerms
from tools.fleet.listing import in_order
from tools.fleet.plan import Done, Situation, Stop, Wait, Wave, Widen, decide, parse_waves
from tools.fleet.release import Release, release_for
from tools.fleet.rollback import REPLIES, Rollback
from tools.fleet.rollout_messages import RolloutMessages
from tools.fleet.rollout_note import RolloutOffer
from tools.publish.mqtt_client import ConnectionLost, MqttClient, Received
from tools.publish.publication import (
    WANTED_PATTERN,
    Publication,
    largest_chunk,
    look,
    note_withdrawn,
    withdraw,
)
from tools.publish.retained_model import RetainedModel
from tools.terminal.output_file import write_output
from tools.terminal.problems import Problem

LISTEN_S = 12.0
"""A car that is on is heard within this time."""
LOOK_S = 0.25
AGAIN_S = 2.0
COMES_BACK_S = 120.0
"""So long after its last word a car may come back on another node of the broker."""
RETRY_S = 600.0
"""So long a broker that went away is tried again; then the same command goes on."""


@dataclass(frozen=True)
class RolloutOptions:
    """What the command line says."""

    waves: str = "1,5,all"
    terms: RolloutTerms = field(default_factory=RolloutTerms)
    max_failures: int = 0
    roll_back: bool = False
    cars: tuple[str, ...] = ()
    """Only these, in this order."""
    group: str = ""
    """Only cars of this group."""
    key: Path | None = None
    url: str | None = None
    """Where its payload lies as a file, too; signed with it."""
    payload: Path | None = None
    """Where that file is to be written."""


def roll_out(subject: str, ways: Sequence[Mqtt], options: RolloutOptions, *, json: bool) -> int:
    """`subject` is a bundle, or the name of an offer that stands. Returns 0 where it came to its end."""
    messages = RolloutMessages(json=json)
    waves = parse_waves(options.waves)
    _check_names(options)
    try:
        with MqttClient.open(ways) as client:
            release = release_for(client, subject, options.key, options.url)
            release = replace(release, chunk_bytes=largest_chunk(client))
    except ConnectionLost as error:
        raise Problem(f"{error} Try again.") from None
    if options.payload is not None:
        write_output(options.payload, payload_of(release.bundle))
    rollout = _Rollout(release, waves, options, messages)
    lost_at: float | None = None
    while True:
        try:
            with MqttClient.open(ways) as client:
                lost_at = None
                return rollout.run(client)
        except KeyboardInterrupt:
            messages.interrupted(subject)
            raise
        except ConnectionLost as error:
            lost_at, why = time.monotonic(), str(error)
        except Problem as error:
            if lost_at is None or time.monotonic() - lost_at > RETRY_S:
                raise
            why = str(error)
        messages.trouble(f"{why} Trying again.")
        time.sleep(AGAIN_S)


def _check_names(options: RolloutOptions) -> None:
    """Raises Problem: cars could not read the offer."""
    for name in (*options.cars, *filter(None, [options.group])):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}", name, re.ASCII) is None:
            raise Problem(f"{name!r} is no name that a car or a group can have.")


class _Rollout:
    """One rollout, over as many connections as it takes."""

    def __init__(
        self, release: Release, waves: tuple[Wave, ...], options: RolloutOptions, messages: RolloutMessages
    ) -> None:
        self._waves, self._options, self._messages = waves, options, messages
        self._previous = release.previous
        self._name, self._digest = release.bundle.manifest.name, release.bundle.digest
        self._target = release.bundle.manifest.target
        standing = release.standing
        chunk_bytes = release.chunk_bytes if standing is None else standing.chunk_bytes
        self._publication = Publication(
            release.bundle,
            chunk_bytes=chunk_bytes,
            keep=self._previous[1].digest if self._previous is not None else "",
            heard=self._hear,
        )
        self._offer = standing or RolloutOffer.model_validate(
            {**self._publication.offer.model_dump(), "cars": ()}
        )
        self._publication.offer = self._offer
        note = self._offer.rollout
        self._before: dict[str, Baseline] = dict(note.before) if note is not None else {}
        self._giving_up = note.rolling_back if note is not None else False
        self._placed = standing is not None
        self._fleet = FleetState()
        self._monitors: dict[str, HealthMonitor] = {}
        self._rollback: Rollback | None = None
        self._unproven_since: float | None = None
        messages.begins(release.bundle.manifest, resumed=self._placed, cars=self._offer.cars)

    def run(self, client: MqttClient) -> int:
        """Raises ConnectionLost, Problem: another offer stands."""
        self._fleet.listening_since = self._fleet.clock()
        retained = look(client, self._name, (*PATTERNS, REPLIES, WANTED_PATTERN), self._hear)
        if self._placed and self._publication.is_forgotten(client, retained):
            self._publication.put(client, retained)
        self._listen(client, retained)
        if self._giving_up:
            return self._roll_back(client, retained)
        self._warn_of_absent()
        while True:
            self._publication.hear(client, retained, LOOK_S)
            if self._placed and self._publication.superseded(retained):
                raise Problem(f"Another offer of {self._name} stands now, or none: somebody else decided.")
            verdicts = self._judge()
            action = decide(self._situation(verdicts), self._waves, self._options.max_failures)
            if isinstance(action, Widen):
                self._widen(client, retained, action)
            elif isinstance(action, Stop):
                why = f"{', '.join(action.failed)} failed"
                return self._give_up(client, retained, why)
            elif isinstance(action, Done):
                if not client.hands_out_by_wildcard and self._fleet.just_lost(COMES_BACK_S):
                    continue  # the broker would not tell it of the offer
                self._forget_former(client, retained)
                self._messages.ends("done", verdicts, self._reasons())
                return 0
            elif (problem := self._waits_in_vain(action)) is not None:
                return self._give_up(client, retained, problem)

    # looking

    def _hear(self, came: Received) -> None:
        if self._rollback is not None and self._rollback.heard(came):
            return
        self._fleet.take(came.topic, came.payload, came.retained)

    def _listen(self, client: MqttClient, retained: RetainedModel) -> None:
        """Until all cars that say they are on were heard."""
        deadline = self._fleet.clock() + LISTEN_S
        self._publication.hear(client, retained, LOOK_S)
        while self._fleet.unheard() and self._fleet.clock() < deadline:
            self._publication.hear(client, retained, LOOK_S)

    def _condition(self, car: FleetCar) -> CarCondition:
        return CarCondition.at(car, self._digest, self._fleet.clock(), self._fleet.listening_since)

    @property
    def _chosen(self) -> list[FleetCar]:
        """Cars that it is for, in their order."""
        found = [car for car in self._fleet.cars.values() if self._is_chosen(car)]
        order = {name: place for place, name in enumerate(self._options.cars)}
        return sorted(found, key=lambda car: (order.get(car.name, 0), in_order(car.name)))

    def _is_chosen(self, car: FleetCar) -> bool:
        if car.model is None or self._name not in car.model.follows:
            return False
        groups = car.info.groups if car.info is not None else ()
        if self._target not in ("all", car.name, *groups):
            return False
        if self._options.cars:
            return car.name in self._options.cars
        return not self._options.group or self._options.group in groups

    @property
    def _everyone(self) -> tuple[str, ...] | None:
        """Whom the last wave names."""
        if self._options.cars:
            return self._options.cars
        return (self._options.group,) if self._options.group else None

    def _judge(self) -> dict[str, RolloutState]:
        """How each car does that may have it."""
        released, now = self._offer.cars, self._fleet.clock()
        everyone = released is None or released == self._everyone
        verdicts = {}
        for car in self._chosen:
            if not self._placed or not (everyone or car.name in (released or ())):
                continue
            condition = self._condition(car)
            if condition.on and condition.active != self._digest:
                self._before.setdefault(car.name, condition.before())
            if car.name not in self._monitors:
                before = self._before.get(car.name, Baseline())
                self._monitors[car.name] = HealthMonitor(self._digest, before, self._options.terms)
            monitor = self._monitors[car.name]
            verdicts[car.name] = monitor.judge(condition, now)
            self._messages.car(car.name, monitor.verdict, monitor.reason)
        return verdicts

    def _situation(self, verdicts: dict[str, RolloutState]) -> Situation:
        chosen, released = self._chosen, self._offer.cars
        candidates = tuple(
            car.name
            for car in chosen
            if released is not None and car.name not in released and self._could_be_next(car)
        )
        return Situation(released, verdicts, candidates, self._everyone, len(chosen))

    def _could_be_next(self, car: FleetCar) -> bool:
        return self._condition(car).on and car.model is not None and not car.model.pinned

    def _waits_in_vain(self, action: Wait) -> str | None:
        """Nobody can show how the model does: that may change, but not for ever."""
        now = self._fleet.clock()
        if not action.unproven:
            self._unproven_since = None
        elif self._unproven_since is None:
            self._unproven_since = now
            self._messages.trouble("no car that is on can show how it does; waiting for one")
        elif now - self._unproven_since > self._options.terms.patience_s:
            return "no car that is on could show how it does"
        return None

    def _reasons(self) -> dict[str, str]:
        return {name: monitor.reason for name, monitor in self._monitors.items() if monitor.reason}

    def _warn_of_absent(self) -> None:
        known = {car.name for car in self._chosen}
        missing = [name for name in self._options.cars if name not in known]
        if missing:
            self._messages.trouble(
                f"{', '.join(missing)}: not known here, or not following {self._name} (models.follow)"
            )

    # doing

    def _widen(self, client: MqttClient, retained: RetainedModel, action: Widen) -> None:
        for car in self._chosen:
            if car.name not in self._before and (action.cars is None or car.name in action.new):
                seen = self._condition(car)
                if seen.on:
                    self._before[car.name] = seen.before()
        self._offer_to(client, retained, action.cars)
        self._messages.wave(action.new, everyone=action.cars == self._everyone)

    def _offer_to(
        self,
        client: MqttClient,
        retained: RetainedModel,
        cars: tuple[str, ...] | None,
        back: tuple[str, ...] | None = None,
    ) -> None:
        noted = self._offer.noted(self._before, self._former, back)
        if self._placed:
            self._publication.offer = noted
            self._publication.widen(client, retained, cars)
        else:
            self._publication.offer = noted.model_copy(update={"cars": cars})
            self._publication.put(client, retained)
            self._placed = True
        assert isinstance(self._publication.offer, RolloutOffer)
        self._offer = self._publication.offer

    @property
    def _former(self) -> Offer | None:
        """What stood before, without the note of its own rollout."""
        if self._previous is None:
            return None
        return Offer.model_validate(self._previous[0].model_dump())

    def _forget_former(self, client: MqttClient, retained: RetainedModel) -> None:
        """The rollout has ended: the chunks of what stood before are nobody's any more."""
        self._publication.keep = ""
        self._publication.clear_outdated(client, retained)

    def _give_up(self, client: MqttClient, retained: RetainedModel, why: str) -> int:
        self._messages.stops(why, self._reasons())
        if self._options.roll_back:
            return self._roll_back(client, retained)
        verdicts = self._judge()
        well = {name for name, verdict in verdicts.items() if verdict is not RolloutState.FAILED}
        kept = tuple(car.name for car in self._chosen if self._condition(car).active == self._digest)
        kept = tuple(name for name in kept if name in well)
        if kept:
            self._offer_to(client, retained, kept)
            self._forget_former(client, retained)
        else:
            withdraw(client, self._name)
        self._messages.ends("stopped", verdicts, self._reasons())
        return 1

    def _roll_back(self, client: MqttClient, retained: RetainedModel) -> int:
        """Nobody takes it any more, who has it goes back, then the offer goes."""
        if not self._giving_up and self._placed:
            have = (car for car in self._chosen if self._condition(car).active == self._digest)
            self._offer_to(client, retained, (), tuple(car.name for car in have if car.name in self._before))
        self._giving_up = True
        if self._rollback is None:
            back = self._offer.rollout.back if self._offer.rollout is not None else ()
            self._rollback = Rollback(self._digest, self._before, back, self._fleet, self._messages)
        while not self._rollback.step(client):
            self._publication.hear(client, retained, LOOK_S)
            if self._publication.superseded(retained):
                raise Problem(f"Another offer of {self._name} stands now, or none: somebody else decided.")
        if self._previous is not None:
            offer, bundle = self._previous
            note_withdrawn(client, retained, self._offer)
            former = Publication(bundle, cars=offer.cars, chunk_bytes=offer.chunk_bytes)
            former.put(client, retained)
        else:
            withdraw(client, self._name)
        self._messages.rolled_back(self._rollback.back, self._rollback.left, restored=self._previous)
        return 1
