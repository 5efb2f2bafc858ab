"""What is offered on the broker: whether this car takes it, why not, and seeing it through to a change.

    offered ─► fetching ─► received ─► …          as any other change, once all of it is here
        └──────────┴───► not taken, with a reason; what may mend is tried again by itself

An offer is believed as far as a trusted key signed it: name, release, target, expiry, sizes, hashes. What
stands around that (which cars go first, the length of chunks) can hold it back, never change it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from messages.errors import ErrorCode
from messages.models import ENDED, PERCENT, ModelProgress
from messages.offers import ModelWanted, StandingOffer, offer_change
from messages.vision import ModelInfo
from models.bundle.manifest import MANIFEST_FILE, SIGNATURE_FILE
from models.bundle.offer import CarTerms, CheckedOffer, known_time
from models.refusal import Refusal
from services.updater.change import ChangeRunner
from services.updater.fetch import Fetcher, Retries
from services.updater.preparation import NOT_TO_BLAME
from services.updater.state import Change, Fetch, OfferNote

LOOK_AGAIN_S = 60.0
"""Offers expire, and a clock is set, without anybody saying so."""
TELL_S, TELL_ASKED_S = 60.0, 10.0
"""How far something is that takes long: to all, and where somebody waits for it."""
_QUIET = frozenset({ErrorCode.NOT_YET, ErrorCode.BUSY, ErrorCode.REPLACED})
"""Shown in the state, but no event."""

log = logging.getLogger(__name__)


class Offers:
    """Called in one thread. `announce` tells steps, `clock` gives seconds, `now` the time of day."""

    def __init__(
        self,
        changes: ChangeRunner,
        fetcher: Fetcher,
        follow: tuple[str, ...],
        terms: CarTerms,
        announce: Callable[[ModelProgress], None],
        clock: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.follow = follow
        self._changes, self._fetcher, self._terms = changes, fetcher, terms
        self._state, self._store = changes.state, changes.store
        self._status, self._announce = changes.status, announce
        self._clock, self._now = clock, now
        self._standing: dict[str, CheckedOffer] = {}
        self._why_not: dict[str, Refusal] = {}
        self._retries = Retries(clock)
        self._doubted: set[str] = set()
        """Digests whose URL gave something else than was signed."""
        self._seen_failure: Refusal | None = None
        self._look, self._looked = True, clock()
        self._told_how_far = clock()

    # what is asked

    def standing(self, name: str) -> CheckedOffer | None:
        """The offer of that name, where the car has seen one."""
        return self._standing.get(name)

    def forget(self, name: str) -> None:
        self._standing.pop(name, None)

    def take(self, offer: CheckedOffer, change_id: str, *, activate: bool) -> None:
        """Somebody wants it now, followed or not, pinned or not. Raises Refusal."""
        if (refusal := self._objection(offer)) is not None:
            raise refusal
        self._must_be_free()
        self._begin(offer, change_id, asked=True, activate=activate)

    def fetch(self, fetch: Fetch) -> None:
        """Fetch a bundle's zip from a URL. Raises Refusal."""
        self._must_be_free()
        self._fetcher.begin(fetch, {})
        self._tell_fetching(fetch)

    def is_fetching(self, change_id: str) -> bool:
        fetch = self._fetcher.now
        return fetch is not None and fetch.id == change_id

    def wanted(self, also: tuple[str, ...]) -> ModelWanted:
        """What the bridge is to bring, offers of the names in `also` too."""
        names = tuple(dict.fromkeys((*self.follow, *also)))
        fetch, chunks, turn = self._fetcher.now, self._fetcher.wanted, self._fetcher.round
        if fetch is None or not chunks:
            return ModelWanted(offers=names)
        return ModelWanted(offers=names, name=fetch.name, digest=fetch.digest, chunks=chunks, round=turn)

    def shown(self) -> tuple[StandingOffer, ...]:
        """What stands of the names that are followed, and what has become of it here."""
        return tuple(self._shown(self._standing[name]) for name in self.follow if name in self._standing)

    # what happens

    def recover(self) -> None:
        """Go on with what was under way when the process ended. Call once, before the change does."""
        change, fetch = self._changes.change, self._fetcher.now
        taken: set[Path] = set()
        if change is not None and change.path:
            taken = {change.location, change.location.parent}
            if fetch is not None and fetch.id == change.id:
                self._fetcher.release()  # it had been handed on
        elif fetch is not None and not fetch.asked and fetch.name not in self.follow:
            self._fetcher.release()  # it isn't followed any more
        self._fetcher.recover(taken)

    def heard(self, name: str, content: bytes) -> None:
        """This stands on the broker now as the offer of that name; nothing: it was withdrawn."""
        before, offer = self._standing.pop(name, None), None
        if content:
            try:
                offer = self._standing[name] = CheckedOffer.read(name, content, self._terms)
            except Refusal as refusal:
                self._not_taken(name, hashlib.sha256(content).hexdigest(), None, refusal)
        if offer is not None and (before is None or before.digest != offer.digest):
            log.info("offered: %s, release %d", offer.title, offer.manifest.release)
        if before is not None and (offer is None or before.offer != offer.offer):
            self._retries.clear()  # published anew: perhaps it was put right
            self._doubted.clear()
        stands = offer.digest if offer is not None else ""  # what was replaced or withdrawn is left
        self._drop_fetch(lambda fetch: fetch.name == name and fetch.digest != stands)
        self._look = True

    def chunk(self, digest: str, number: int, content: bytes) -> None:
        self._fetcher.chunk(digest, number, content)

    def told(self, change: Change, progress: ModelProgress) -> None:
        if progress.step not in ENDED:
            return
        self._look = True
        digest = change.digest or change.source
        if change.origin != "offer" or not progress.reason:
            return
        if progress.reason == ErrorCode.INCOMPLETE:
            self._doubted.add(digest)
        if progress.reason in NOT_TO_BLAME or progress.step == "fallen_back":
            self._retries.add(digest, Refusal(progress.reason, progress.sentence))

    def look(self, *, anew: bool = False) -> None:
        """What decides may be otherwise now; `anew`: what was taken once may be taken again."""
        for name in self._state.now.offers if anew else ():
            self._remember(name, taken="")
        self._look = True

    def advance(self) -> None:
        """Do what is due. Call when anything has happened, and about once a second."""
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
            self._why_not = {name: why for name in self.follow if (why := self._decide(name)) is not None}

    # what is told: each outcome once, also across restarts

    def _note(self, name: str) -> OfferNote:
        return self._state.now.offers.get(name, OfferNote())

    def _remember(self, name: str, **changed: str) -> None:
        after = self._note(name).model_copy(update=changed)
        if after != self._note(name):
            self._state.write(offers=self._state.now.offers | {name: after})

    def _tell_fetching(self, fetch: Fetch, percent: int = 0) -> None:
        where = "its URL" if fetch.url else "the broker"
        here = f"; {percent} % are here" if percent else ""
        sentence = f"{fetch.size >> 10} KiB are fetched from {where}{here}."
        change = Change(id=fetch.id, origin=fetch.origin)
        progress = self._status.progress(change, "fetching", self._model(fetch), sentence=sentence)
        self._announce(progress.model_copy(update={"percent": percent * PERCENT["received"] // 100}))

    def _not_taken(self, name: str, digest: str, model: ModelInfo | None, refusal: Refusal) -> None:
        note = self._note(name)
        if (note.digest, note.reason) != (digest, refusal.reason):
            log.info("not taken: %s: %s", refusal.reason, refusal)
            self._tell_refused(Change(id=offer_change(digest), origin="offer"), model, refusal)
            self._remember(name, digest=digest, reason=str(refusal.reason))

    def _tell_refused(self, change: Change, model: ModelInfo | None, refusal: Refusal) -> None:
        self._announce(self._status.progress(change, "refused", model, refusal.reason, str(refusal)))

    # deciding

    def _decide(self, name: str) -> Refusal | None:
        """Take what may be taken of this name; why not, where it isn't."""
        offer = self._standing.get(name)
        change = self._changes.change
        if offer is None or (change is not None and offer.digest in (change.digest, change.source)):
            return None
        if offer.digest == self._store.active:
            self._remember(name, taken=offer.digest, digest="", reason="")
            self._retries.forget(offer.digest)
            return None
        refusal = self._refusal(offer)
        if refusal is not None:
            self._drop_fetch(lambda fetch: fetch.digest == offer.digest)
        elif not self._is_fetched(offer.digest):
            refusal = self._retries.waiting(offer.digest) or self._taken(offer)
        known = self._note(name).taken == offer.digest or offer.digest in self._state.now.refused
        if refusal is not None and refusal.reason not in _QUIET and not known:
            self._not_taken(name, offer.digest, offer.model, refusal)
        return refusal

    def _refusal(self, offer: CheckedOffer) -> Refusal | None:
        """Why this car doesn't take it by itself now; None: it does."""
        state, title = self._state.now, offer.title
        if (refusal := self._objection(offer)) is not None:
            return refusal
        if state.pinned:
            return self._status.pinned(title)
        if (past := state.refused.get(offer.digest)) is not None:
            return past.refusal
        if not offer.is_offered_to(self._terms):
            return Refusal(ErrorCode.NOT_YET, f"{title} goes to other cars first.")
        if self._note(offer.offer.name).taken == offer.digest:
            remedy = "smartcar model unpin takes it again."
            return Refusal(ErrorCode.REPLACED, f"{title} was taken, and another model since.", remedy)
        return None

    def _objection(self, offer: CheckedOffer) -> Refusal | None:
        newest = self._state.now.releases.get(offer.manifest.name)
        return offer.objection(self._terms, known_time(self._now()), newest)

    def _is_fetched(self, digest: str) -> bool:
        fetch = self._fetcher.now
        return fetch is not None and fetch.digest == digest and self._fetcher.failure is None

    def _drop_fetch(self, condition: Callable[[Fetch], bool]) -> None:
        """Don't fetch that any more; what somebody asked for still is."""
        fetch = self._fetcher.now
        if fetch is not None and not fetch.asked and condition(fetch):
            self._fetcher.drop()

    def _tell_how_far(self, now: float) -> None:
        """Now and then, and more often to somebody who waits."""
        fetch = self._fetcher.now
        if fetch is None or self._fetcher.failure is not None:
            self._told_how_far = now
        elif now - self._told_how_far > (TELL_ASKED_S if fetch.asked else TELL_S):
            self._told_how_far = now
            self._tell_fetching(fetch, self._fetcher.percent)

    def _must_be_free(self) -> None:
        """Raises Refusal."""
        self._changes.must_be_possible()
        fetch = self._fetcher.now
        if self._changes.change is not None or (fetch is not None and fetch.asked):
            raise Refusal(ErrorCode.BUSY, "Another model is just being taken.", "Wait for it.")

    # taking

    def _taken(self, offer: CheckedOffer) -> Refusal | None:
        """Begin to take it; why not, where something else is under way or there is no room."""
        fetch = self._fetcher.now
        waits = fetch is None or self._fetcher.failure is not None
        if self._changes.change is not None or not waits:
            return Refusal(ErrorCode.BUSY, f"{offer.title} waits: another model is just being taken.")
        try:
            self._begin(offer, offer_change(offer.digest), asked=False, activate=True)
        except Refusal as refusal:
            self._retries.add(offer.digest, refusal)
            return self._retries.waiting(offer.digest)
        return None

    def _begin(self, offer: CheckedOffer, change_id: str, *, asked: bool, activate: bool) -> None:
        """Raises Refusal."""
        digest = offer.digest
        change = Change(id=change_id, origin="offer", digest=digest, asked=asked, activate=activate)
        if digest in self._store.digests:
            self._changes.begin(change.model_copy(update={"step": "tested"}))
            return
        fetch = Fetch(
            id=change_id,
            origin="offer",
            name=offer.offer.name,
            digest=digest,
            size=offer.size,
            chunk_bytes=offer.offer.chunk_bytes,
            url="" if digest in self._doubted else offer.manifest.url or "",
            asked=asked,
            activate=activate,
        )
        before = self._fetcher.now
        beside = {MANIFEST_FILE: offer.offer.manifest, SIGNATURE_FILE: offer.offer.signature}
        self._fetcher.begin(fetch, beside)
        if before is None or before.id != fetch.id:
            self._tell_fetching(fetch)

    def _hand_over(self, fetch: Fetch) -> None:
        """All of it is here: the change begins with it."""
        try:
            self._changes.begin(self._fetcher.change(fetch))
        except Refusal as refusal:
            if refusal.reason != ErrorCode.BUSY:
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
        self._tell_refused(Change(id=fetch.id, origin=fetch.origin), self._model(fetch), refusal)
        self._state.write(ended=self._state.now.ended | {fetch.id: ("refused", "")})

    def _model(self, fetch: Fetch) -> ModelInfo | None:
        offer = self._standing.get(fetch.name)
        return offer.model if offer is not None else None

    def _shown(self, offer: CheckedOffer) -> StandingOffer:
        why_not, fetch, percent = self._why_not.get(offer.offer.name), self._fetcher.now, 0
        if offer.digest in self._store.digests:
            percent = 100
        elif fetch is not None and fetch.digest == offer.digest:
            percent = self._fetcher.percent
        return StandingOffer(
            name=offer.offer.name,
            version=offer.manifest.version,
            digest=offer.digest,
            release=offer.manifest.release,
            percent=percent,
            reason=why_not.reason if why_not is not None else "",
            sentence=str(why_not) if why_not is not None else "",
        )
