"""What is told of offers: each outcome once, also across restarts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from messages.models import PERCENT, ModelProgress
from messages.offers import offer_change
from messages.vision import ModelInfo
from models.refusal import Reason, Refusal
from services.updater.ledger import Change, Fetch, LedgerFile, Note
from services.updater.standing import Standing
from services.updater.telling import Telling

_QUIET = frozenset({Reason.NOT_YET, Reason.BUSY, Reason.REPLACED})
"""Shown in the state, but no event."""

log = logging.getLogger(__name__)


class Notices:
    """`announce` tells a step; the ledger's notes remember what was told."""

    def __init__(self, ledger: LedgerFile, words: Telling, announce: Callable[[ModelProgress], None]) -> None:
        self._ledger, self._words, self._announce = ledger, words, announce

    def fetching(self, fetch: Fetch, model: ModelInfo | None, percent: int = 0) -> None:
        """It comes; so much of it is here."""
        where = "its URL" if fetch.url else "the broker"
        here = f"; {percent} % are here" if percent else ""
        change = Change(id=fetch.id, origin=fetch.origin)
        sentence = f"{fetch.size >> 10} KiB are fetched from {where}{here}."
        progress = self._words.progress(change, "fetching", model, sentence=sentence)
        self._announce(progress.model_copy(update={"percent": percent * PERCENT["received"] // 100}))

    def not_taken(self, standing: Standing, refusal: Refusal) -> None:
        """The car doesn't take what stands."""
        note = self.note(standing.offer.name)
        known = note.taken == standing.digest or standing.digest in self._ledger.now.refused
        if refusal.reason in _QUIET or known:
            return
        self._once(standing.offer.name, standing.digest, standing.model, refusal)

    def no_offer(self, name: str, content: bytes, refusal: Refusal) -> None:
        """What stands there is none."""
        self._once(name, hashlib.sha256(content).hexdigest(), None, refusal)

    def gave_up(self, fetch: Fetch, model: ModelInfo | None, refusal: Refusal) -> None:
        """What somebody asked for didn't come."""
        self._refused(fetch.id, fetch.origin == "install", model, refusal)
        self._ledger.write(ended=self._ledger.now.ended | {fetch.id: ("refused", "")})

    def taken(self, standing: Standing) -> None:
        """The car reads with it."""
        self._remember(standing.offer.name, taken=standing.digest, digest="", reason="")

    def unpinned(self) -> None:
        """What was taken once may be taken again."""
        notes = self._ledger.now.offers
        fresh = {name: note.model_copy(update={"taken": ""}) for name, note in notes.items()}
        if fresh != notes:
            self._ledger.write(offers=fresh)

    def note(self, name: str) -> Note:
        """What is remembered of a name's offers."""
        return self._ledger.now.offers.get(name, Note())

    def _once(self, name: str, digest: str, model: ModelInfo | None, refusal: Refusal) -> None:
        note = self.note(name)
        if (note.digest, note.reason) == (digest, refusal.reason):
            return
        log.info("not taken: %s: %s", refusal.reason, refusal)
        self._refused(offer_change(digest), False, model, refusal)
        self._remember(name, digest=digest, reason=str(refusal.reason))

    def _refused(self, change_id: str, installed: bool, model: ModelInfo | None, refusal: Refusal) -> None:
        change = Change(id=change_id, origin="install" if installed else "offer")
        self._announce(self._words.progress(change, "refused", model, refusal.reason, str(refusal)))

    def _remember(self, name: str, **changed: str) -> None:
        before = self.note(name)
        after = before.model_copy(update=changed)
        if after != before:
            self._ledger.write(offers=self._ledger.now.offers | {name: after})
