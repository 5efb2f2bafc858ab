"""What is offered on the broker: whether this car takes it, why not, and seeing it through to the lifecycle.

    offered ─► fetching ─► received ─► …          as any other change, once all of it is here
        └──────────┴───► not taken, with a reason; what may mend is tried again by itself

An offer is believed as far as a trusted key signed it: name, release, target, expiry, sizes, hashes. What
stands around that (which cars go first, the length of chunks) can hold it back, never change it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from messages.models import ENDED, ModelProgress
from messages.offers import ModelWanted, StandingOffer, offer_change
from models.refusal import Reason, Refusal
from services.updater.fetching import Fetcher
from services.updater.ledger import Change, Fetch
from services.updater.lifecycle import NOT_THE_FILES_FAULT, Lifecycle
from services.updater.notices import Notices
from services.updater.partial import beside
from services.updater.retries import Retries
from services.updater.standing import Standing, read_standing
from services.updater.workshop import Terms, known_time

LOOK_AGAIN_S = 60.0
"""Offers expire, and a clock is set, without anybody saying so."""
TELL_S, TELL_ASKED_S = 60.0, 10.0
"""How far something is that takes long: to all, and where somebody waits for it."""

log = logging.getLogger(__name__)


class Offers:
    """Called in one thread. `announce` tells steps, `clock` gives seconds, `now` the time of day."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        fetcher: Fetcher,
        follow: tuple[str, ...],
        terms: Terms,
        announce: Callable[[ModelProgress], None],
        clock: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.follow = follow
        self._lifecycle, self._fetcher, self._terms = lifecycle, fetcher, terms
        self._notices = Notices(lifecycle.ledger, lifecycle.words, announce)
        self._clock, self._now = clock, now
        self._standing: dict[str, Standing] = {}
        self._verdicts: dict[str, Refusal] = {}
        self._retries = Retries(clock)
        self._doubted: set[str] = set()
        """Digests whose URL gave something else than was signed."""
        self._seen_failure: Refusal | None = None
        self._look, self._looked = True, clock()
        self._told_how_far = clock()

    # what is asked

    def standing(self, name: str) -> Standing | None:
        """The offer of that name, where the car has seen one."""
        return self._standing.get(name)

    def forget(self, name: str) -> None:
        """It is not listened for any more."""
        self._standing.pop(name, None)

    def take(self, standing: Standing, change_id: str, *, activate: bool) -> None:
        """Somebody wants it now, followed or not, pinned or not. Raises Refusal."""
        if (refusal := self._objection(standing)) is not None:
            raise refusal
        self._must_be_free()
        self._begin(standing, change_id, asked=True, activate=activate)

    def fetch(self, fetch: Fetch) -> None:
        """Fetch a bundle's zip from a URL. Raises Refusal."""
        self._must_be_free()
        self._fetcher.begin(fetch, {})
        self._notices.fetching(fetch, None)

    def is_fetching(self, change_id: str) -> bool:
        """Whether this change is being fetched."""
        fetch = self._fetcher.now
        return fetch is not None and fetch.id == change_id

    def wanted(self, also: tuple[str, ...]) -> ModelWanted:
        """What the bridge is to bring, offers of the names in `also` too."""
        names = tuple(dict.fromkeys((*self.follow, *also)))
        fetch, chunks = self._fetcher.now, self._fetcher.wanted
        if fetch is None or not chunks:
            return ModelWanted(offers=names)
        return ModelWanted(
            offers=names, name=fetch.name, digest=fetch.digest, chunks=chunks, round=self._fetcher.round
        )

    def shown(self) -> tuple[StandingOffer, ...]:
        """What stands of the names that are followed, and what has become of it here."""
        return tuple(self._shown(self._standing[name]) for name in self.follow if name in self._standing)

    # what happens

    def recover(self) -> None:
        """Go on with what was under way when the process ended. Call once, before the lifecycle does."""
        change, fetch = self._lifecycle.change, self._fetcher.now
        taken: set[Path] = set()
        if change is not None and change.path:
            taken = {Path(change.path), Path(change.path).parent}
            if fetch is not None and fetch.id == change.id:
                self._fetcher.release()  # it had been handed on
        elif fetch is not None and not fetch.asked and fetch.name not in self.follow:
            self._fetcher.release()  # it isn't followed any more
        self._fetcher.recover(taken)

    def heard(self, name: str, content: bytes) -> None:
        """This stands on the broker now as the offer of that name; nothing: it was withdrawn."""
        before, standing = self._standing.pop(name, None), None
        if content:
            try:
                standing = self._standing[name] = read_standing(name, content, self._terms)
            except Refusal as refusal:
                self._notices.no_offer(name, content, refusal)
        if standing is not None and (before is None or before.digest != standing.digest):
            log.info("offered: %s, release %d", standing.title, standing.manifest.release)
        if before is not None and (standing is None or before.offer != standing.offer):
            self._retries.clear()  # published anew: perhaps it was put right
            self._doubted.clear()
        self._leave(name, standing)
        self._look = True

    def chunk(self, digest: str, number: int, content: bytes) -> None:
        """A chunk came."""
        self._fetcher.chunk(digest, number, content)

    def told(self, progress: ModelProgress) -> None:
        """A change told a step, while the lifecycle still has it."""
        change = self._lifecycle.change
        if progress.step not in ENDED or change is None or change.id != progress.change:
            return
        self._look = True
        digest = change.digest or change.source
        if change.origin != "offer" or not progress.reason:
            return
        if progress.reason == Reason.INCOMPLETE:
            self._doubted.add(digest)
        if progress.reason in NOT_THE_FILES_FAULT or progress.step == "fallen_back":
            self._retries.add(digest, Refusal(progress.reason, progress.sentence))

    def unpinned(self) -> None:
        """What was taken once may be taken again."""
        self._notices.unpinned()
        self._look = True

    def look(self) -> None:
        """What decides may be otherwise now."""
        self._look = True

    def tick(self) -> None:
        """Call a few times a second."""
        self._fetcher.tick()
        fetch, failure = self._fetcher.now, self._fetcher.failure
        if fetch is not None and failure is not None and failure is not self._seen_failure:
            self._failed(fetch, failure)
        if fetch is not None and self._fetcher.complete:
            self._hand_over(fetch)
        now = self._clock()
        self._tell_how_far(now)
        if self._retries.come_due() or self._look or now - self._looked > LOOK_AGAIN_S:
            self._look, self._looked = False, now
            self._decide()

    # deciding

    def _decide(self) -> None:
        """Take what may be taken, and note of the rest why not."""
        verdicts: dict[str, Refusal] = {}
        for name in self.follow:
            standing = self._standing.get(name)
            if standing is None or self._has_lifecycle(standing.digest):
                continue
            if standing.digest == self._lifecycle.store.active:
                self._notices.taken(standing)
                self._retries.forget(standing.digest)
                continue
            verdict = self._verdict(standing)
            if verdict is not None:
                self._stop_fetching(standing.digest)
            elif not self._is_fetched(standing.digest):
                verdict = self._retries.waiting(standing.digest) or self._taken(standing)
            if verdict is not None:
                verdicts[name] = verdict
                self._notices.not_taken(standing, verdict)
        self._verdicts = verdicts

    def _verdict(self, standing: Standing) -> Refusal | None:
        """Why this car doesn't take it by itself now; None: it does."""
        ledger, title = self._lifecycle.ledger.now, standing.title
        if (refusal := self._objection(standing)) is not None:
            return refusal
        if ledger.pinned:
            active = self._lifecycle.words.title(self._lifecycle.store.active)
            return Refusal(
                Reason.PINNED, f"{active} is pinned; smartcar model unpin lets {title} replace it."
            )
        if (verdict := ledger.refused.get(standing.digest)) is not None:
            return Refusal(_reason(verdict.reason), f"{verdict.sentence} It is not tried again by itself.")
        if not standing.is_let(self._terms):
            return Refusal(Reason.NOT_YET, f"{title} goes to other cars first.")
        if self._notices.note(standing.offer.name).taken == standing.digest:
            sentence = f"{title} was taken, and another model since; smartcar model unpin takes it again."
            return Refusal(Reason.REPLACED, sentence)
        return None

    def _objection(self, standing: Standing) -> Refusal | None:
        newest = self._lifecycle.ledger.now.releases.get(standing.manifest.name)
        return standing.objection(self._terms, known_time(self._now()), newest)

    def _has_lifecycle(self, digest: str) -> bool:
        change = self._lifecycle.change
        return change is not None and digest in (change.digest, change.source)

    def _is_fetched(self, digest: str) -> bool:
        fetch = self._fetcher.now
        return fetch is not None and fetch.digest == digest and self._fetcher.failure is None

    def _stop_fetching(self, digest: str) -> None:
        """It isn't to be taken any more; what somebody asked for still is."""
        fetch = self._fetcher.now
        if fetch is not None and fetch.digest == digest and not fetch.asked:
            self._fetcher.drop()

    def _tell_how_far(self, now: float) -> None:
        """Now and then, and more often to somebody who waits."""
        fetch = self._fetcher.now
        if fetch is None or self._fetcher.failure is not None:
            self._told_how_far = now
        elif now - self._told_how_far > (TELL_ASKED_S if fetch.asked else TELL_S):
            self._told_how_far = now
            standing = self._standing.get(fetch.name)
            model = standing.model if standing is not None else None
            self._notices.fetching(fetch, model, self._fetcher.percent)

    def _must_be_free(self) -> None:
        """Raises Refusal."""
        self._lifecycle.must_be_possible()
        fetch = self._fetcher.now
        if self._lifecycle.change is not None or (fetch is not None and fetch.asked):
            raise Refusal(Reason.BUSY, "Another model is just being taken; wait for it.")

    # taking

    def _taken(self, standing: Standing) -> Refusal | None:
        """Begin to take it; why not, where something else is under way or there is no room."""
        fetch = self._fetcher.now
        waits = fetch is None or self._fetcher.failure is not None
        if self._lifecycle.change is not None or not waits:
            return Refusal(Reason.BUSY, f"{standing.title} waits: another model is just being taken.")
        try:
            self._begin(standing, offer_change(standing.digest), asked=False, activate=True)
        except Refusal as refusal:
            self._retries.add(standing.digest, refusal)
            return self._retries.waiting(standing.digest)
        return None

    def _begin(self, standing: Standing, change_id: str, *, asked: bool, activate: bool) -> None:
        """Raises Refusal."""
        offer, digest = standing.offer, standing.digest
        change = Change(id=change_id, origin="offer", digest=digest, asked=asked, activate=activate)
        if digest in self._lifecycle.store.digests:
            self._lifecycle.begin(change.model_copy(update={"step": "tested"}))
            return
        fetch = Fetch(
            id=change_id,
            origin="offer",
            name=offer.name,
            digest=digest,
            size=standing.size,
            chunk_bytes=offer.chunk_bytes,
            url="" if digest in self._doubted else standing.manifest.url or "",
            asked=asked,
            activate=activate,
        )
        before = self._fetcher.now
        self._fetcher.begin(fetch, beside(offer.manifest, offer.signature))
        if before is None or before.id != fetch.id:
            self._notices.fetching(fetch, standing.model)

    def _hand_over(self, fetch: Fetch) -> None:
        """All of it is here: the lifecycle goes on with it."""
        partial, is_zip = self._fetcher.partial, fetch.origin == "install"
        change = Change(
            id=fetch.id,
            origin=fetch.origin,
            file="bundle.zip" if is_zip else "",
            path=str(partial.path if is_zip else partial.folder),
            source="" if is_zip else fetch.digest,
            activate=fetch.activate,
            asked=fetch.asked,
        )
        try:
            self._lifecycle.begin(change)
        except Refusal as refusal:
            if refusal.reason != Reason.BUSY:
                self._failed(fetch, refusal)
            return
        self._fetcher.release()

    def _failed(self, fetch: Fetch, refusal: Refusal) -> None:
        """An offer is tried again; what somebody asked for is answered."""
        self._look, self._seen_failure = True, refusal
        if fetch.origin == "offer" and not fetch.asked:
            self._retries.add(fetch.digest, refusal)
            self._fetcher.wait(refusal)
            return
        self._fetcher.drop()
        standing = self._standing.get(fetch.name)
        self._notices.gave_up(fetch, standing.model if standing is not None else None, refusal)

    def _leave(self, name: str, standing: Standing | None) -> None:
        """What was replaced or withdrawn is not fetched any more, unless somebody asked for it."""
        fetch = self._fetcher.now
        if fetch is None or fetch.name != name or fetch.asked:
            return
        if standing is None or standing.digest != fetch.digest:
            self._fetcher.drop()

    def _shown(self, standing: Standing) -> StandingOffer:
        verdict, fetch, percent = self._verdicts.get(standing.offer.name), self._fetcher.now, 0
        if standing.digest in self._lifecycle.store.digests:
            percent = 100
        elif fetch is not None and fetch.digest == standing.digest:
            percent = self._fetcher.percent
        return StandingOffer(
            name=standing.offer.name,
            version=standing.manifest.version,
            digest=standing.digest,
            release=standing.manifest.release,
            percent=percent,
            reason=verdict.reason if verdict is not None else "",
            sentence=str(verdict) if verdict is not None else "",
        )


def _reason(code: str) -> Reason:
    try:
        return Reason(code)
    except ValueError:  # a verdict of another version of smartcar
        return Reason.REFUSED_BEFORE
