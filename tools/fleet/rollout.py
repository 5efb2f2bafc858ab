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
from services.config import Mqtt
from tools.fleet.health import Before, Look, Terms, Verdict, Watch
from tools.fleet.listing import in_order
from tools.fleet.memory import RolloutOffer
from tools.fleet.plan import Done, Situation, Stop, Wait, Wave, Widen, decide, parse_waves
from tools.fleet.release import Release, release_for, write_payload
from tools.fleet.rollback import REPLIES, Rollback
from tools.fleet.roster import PATTERNS, Car, Roster
from tools.fleet.saying import Saying
from tools.publish.link import Link, LinkLost, Received
from tools.publish.publication import Publication, largest_chunk, look, note_withdrawn, withdraw
from tools.publish.retained import RetainedModel
from tools.terminal.problems import Problem

LISTEN_S = 12.0
"""A car that is on is heard within this time."""
LOOK_S = 0.25
AGAIN_S = 2.0
RETRY_S = 600.0
"""So long a broker that went away is tried again; then the same command goes on."""


@dataclass(frozen=True)
class Wish:
    """What the command line says."""

    waves: str = "1,5,all"
    terms: Terms = field(default_factory=Terms)
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


def roll_out(subject: str, ways: Sequence[Mqtt], wish: Wish, *, json: bool) -> int:
    """`subject` is a bundle, or the name of an offer that stands. Returns 0 where it came to its end."""
    saying = Saying(json=json)
    waves = parse_waves(wish.waves)
    _check_names(wish)
    try:
        with Link.open(ways) as link:
            release = release_for(link, subject, wish.key, wish.url)
            release = replace(release, chunk_bytes=largest_chunk(link))
    except LinkLost as error:
        raise Problem(f"{error}; try again") from None
    if wish.payload is not None:
        write_payload(wish.payload, release.bundle)
    rollout = _Rollout(release, waves, wish, saying)
    lost_at: float | None = None
    while True:
        try:
            with Link.open(ways) as link:
                lost_at = None
                return rollout.run(link)
        except KeyboardInterrupt:
            saying.interrupted(subject)
            raise
        except LinkLost as error:
            lost_at, why = time.monotonic(), str(error)
        except Problem as error:
            if lost_at is None or time.monotonic() - lost_at > RETRY_S:
                raise
            why = str(error)
        saying.trouble(f"{why}; trying again")
        time.sleep(AGAIN_S)


def _check_names(wish: Wish) -> None:
    """Raises Problem: cars could not read the offer."""
    for name in (*wish.cars, *filter(None, [wish.group])):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}", name, re.ASCII) is None:
            raise Problem(f"{name!r} is no name that a car or a group can have")


class _Rollout:
    """One rollout, over as many connections as it takes."""

    def __init__(self, release: Release, waves: tuple[Wave, ...], wish: Wish, saying: Saying) -> None:
        self._waves, self._wish, self._saying = waves, wish, saying
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
        self._before: dict[str, Before] = dict(note.before) if note is not None else {}
        self._giving_up = note.rolling_back if note is not None else False
        self._placed = standing is not None
        self._roster = Roster()
        self._watches: dict[str, Watch] = {}
        self._rollback: Rollback | None = None
        self._unproven_since: float | None = None
        saying.begins(release.bundle.manifest, resumed=self._placed, cars=self._offer.cars)

    def run(self, link: Link) -> int:
        """Raises LinkLost, Problem: another offer stands."""
        self._roster.listening_since = self._roster.clock()
        retained = look(link, self._name, (*PATTERNS, REPLIES), self._hear)
        if self._placed and retained.standing is None:
            self._publication.put(link, retained)  # the broker has lost its memory
        self._listen(link, retained)
        if self._giving_up:
            return self._roll_back(link, retained)
        self._warn_of_absent()
        while True:
            self._publication.hear(link, retained, LOOK_S)
            if self._placed and self._publication.superseded(retained):
                raise Problem(f"another offer of {self._name} stands now, or none: somebody else decided")
            verdicts = self._judge()
            action = decide(self._situation(verdicts), self._waves, self._wish.max_failures)
            if isinstance(action, Widen):
                self._widen(link, retained, action)
            elif isinstance(action, Stop):
                why = f"{', '.join(action.failed)} failed"
                return self._give_up(link, retained, why)
            elif isinstance(action, Done):
                self._forget_former(link, retained)
                self._saying.ends("done", verdicts, self._reasons())
                return 0
            elif (problem := self._waits_in_vain(action)) is not None:
                return self._give_up(link, retained, problem)

    # looking

    def _hear(self, came: Received) -> None:
        if self._rollback is not None and self._rollback.heard(came):
            return
        self._roster.take(came.topic, came.payload, came.retained)

    def _listen(self, link: Link, retained: RetainedModel) -> None:
        """Until all cars that say they are on were heard."""
        deadline = self._roster.clock() + LISTEN_S
        self._publication.hear(link, retained, LOOK_S)
        while self._roster.unheard() and self._roster.clock() < deadline:
            self._publication.hear(link, retained, LOOK_S)

    def _look(self, car: Car) -> Look:
        return Look.at(car, self._digest, self._roster.clock(), self._roster.listening_since)

    @property
    def _chosen(self) -> list[Car]:
        """Cars that it is for, in their order."""
        found = [car for car in self._roster.cars.values() if self._is_chosen(car)]
        order = {name: place for place, name in enumerate(self._wish.cars)}
        return sorted(found, key=lambda car: (order.get(car.name, 0), in_order(car.name)))

    def _is_chosen(self, car: Car) -> bool:
        if car.model is None or self._name not in car.model.follows:
            return False
        groups = car.info.groups if car.info is not None else ()
        if self._target not in ("all", car.name, *groups):
            return False
        if self._wish.cars:
            return car.name in self._wish.cars
        return not self._wish.group or self._wish.group in groups

    @property
    def _everyone(self) -> tuple[str, ...] | None:
        """Whom the last wave names."""
        if self._wish.cars:
            return self._wish.cars
        return (self._wish.group,) if self._wish.group else None

    def _judge(self) -> dict[str, Verdict]:
        """How each car does that may have it."""
        released, now = self._offer.cars, self._roster.clock()
        everyone = released is None or released == self._everyone
        verdicts = {}
        for car in self._chosen:
            if not self._placed or not (everyone or car.name in (released or ())):
                continue
            look = self._look(car)
            if look.on and look.active != self._digest:
                self._before.setdefault(car.name, look.before())
            if car.name not in self._watches:
                before = self._before.get(car.name, Before())
                self._watches[car.name] = Watch(self._digest, before, self._wish.terms)
            watch = self._watches[car.name]
            verdicts[car.name] = watch.judge(look, now)
            self._saying.car(car.name, watch.verdict, watch.reason)
        return verdicts

    def _situation(self, verdicts: dict[str, Verdict]) -> Situation:
        chosen, released = self._chosen, self._offer.cars
        candidates = tuple(
            car.name
            for car in chosen
            if released is not None and car.name not in released and self._could_be_next(car)
        )
        return Situation(released, verdicts, candidates, self._everyone, len(chosen))

    def _could_be_next(self, car: Car) -> bool:
        return self._look(car).on and car.model is not None and not car.model.pinned

    def _waits_in_vain(self, action: Wait) -> str | None:
        """Nobody can show how the model does: that may change, but not for ever."""
        now = self._roster.clock()
        if not action.unproven:
            self._unproven_since = None
        elif self._unproven_since is None:
            self._unproven_since = now
            self._saying.trouble("no car that is on can show how it does; waiting for one")
        elif now - self._unproven_since > self._wish.terms.patience_s:
            return "no car that is on could show how it does"
        return None

    def _reasons(self) -> dict[str, str]:
        return {name: watch.reason for name, watch in self._watches.items() if watch.reason}

    def _warn_of_absent(self) -> None:
        known = {car.name for car in self._chosen}
        missing = [name for name in self._wish.cars if name not in known]
        if missing:
            self._saying.trouble(
                f"{', '.join(missing)}: not known here, or not following {self._name} (models.follow)"
            )

    # doing

    def _widen(self, link: Link, retained: RetainedModel, action: Widen) -> None:
        for car in self._chosen:
            if car.name not in self._before and (action.cars is None or car.name in action.new):
                seen = self._look(car)
                if seen.on:
                    self._before[car.name] = seen.before()
        self._offer_to(link, retained, action.cars)
        self._saying.wave(action.new, everyone=action.cars == self._everyone)

    def _offer_to(
        self,
        link: Link,
        retained: RetainedModel,
        cars: tuple[str, ...] | None,
        back: tuple[str, ...] | None = None,
    ) -> None:
        noted = self._offer.noted(self._before, self._former, back)
        if self._placed:
            self._publication.offer = noted
            self._publication.widen(link, retained, cars)
        else:
            self._publication.offer = noted.model_copy(update={"cars": cars})
            self._publication.put(link, retained)
            self._placed = True
        assert isinstance(self._publication.offer, RolloutOffer)
        self._offer = self._publication.offer

    @property
    def _former(self) -> Offer | None:
        """What stood before, without the note of its own rollout."""
        if self._previous is None:
            return None
        return Offer.model_validate(self._previous[0].model_dump())

    def _forget_former(self, link: Link, retained: RetainedModel) -> None:
        """The rollout has ended: the chunks of what stood before are nobody's any more."""
        self._publication.keep = ""
        self._publication.clear_outdated(link, retained)

    def _give_up(self, link: Link, retained: RetainedModel, why: str) -> int:
        self._saying.stops(why, self._reasons())
        if self._wish.roll_back:
            return self._roll_back(link, retained)
        verdicts = self._judge()
        well = {name for name, verdict in verdicts.items() if verdict is not Verdict.FAILED}
        kept = tuple(car.name for car in self._chosen if self._look(car).active == self._digest)
        kept = tuple(name for name in kept if name in well)
        if kept:
            self._offer_to(link, retained, kept)
            self._forget_former(link, retained)
        else:
            withdraw(link, self._name)
        self._saying.ends("stopped", verdicts, self._reasons())
        return 1

    def _roll_back(self, link: Link, retained: RetainedModel) -> int:
        """Nobody takes it any more, who has it goes back, then the offer goes."""
        if not self._giving_up and self._placed:
            have = (car for car in self._chosen if self._look(car).active == self._digest)
            self._offer_to(link, retained, (), tuple(car.name for car in have if car.name in self._before))
        self._giving_up = True
        if self._rollback is None:
            back = self._offer.rollout.back if self._offer.rollout is not None else ()
            self._rollback = Rollback(self._digest, self._before, back, self._roster, self._saying)
        while not self._rollback.step(link):
            self._publication.hear(link, retained, LOOK_S)
            if self._publication.superseded(retained):
                raise Problem(f"another offer of {self._name} stands now, or none: somebody else decided")
        if self._previous is not None:
            offer, bundle = self._previous
            note_withdrawn(link, retained, self._offer)
            former = Publication(bundle, cars=offer.cars, chunk_bytes=offer.chunk_bytes)
            former.put(link, retained)
        else:
            withdraw(link, self._name)
        self._saying.rolled_back(self._rollback.back, self._rollback.left, restored=self._previous)
        return 1
