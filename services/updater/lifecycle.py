"""The life of a change: received, checked, tested, on trial, active. One at a time, and whatever is killed
whenever, the car reads with the old model or the new one.

    received ─► checked ─► tested ─► (waiting) ─► trial ─► active
        └──────────┴──────────┴───────────┴─────────┴────► refused · fallen back · interrupted · kept

The ledger has the change under way, the store has the models, the recognizer has the trial in its memory.
The store's `active` moves when the trial is over; until then any crash leads back by itself, and `recover`
goes on from what is on the disk.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from messages import durable
from messages.command import Reply
from messages.disk import is_full
from messages.message import new_ulid
from messages.models import ModelProgress, Step
from messages.recognizer_commands import TrialReport
from messages.vision import ModelInfo
from models.refusal import Reason, Refusal
from models.store import Store
from services.log import fields
from services.updater.ledger import Change, LedgerFile, Score, Seen, Verdict
from services.updater.telling import Telling
from services.updater.workshop import Heard, Prepared, Rejected

ATTEMPTS = 3
"""So often a change is begun that ended in a crash; then it is given up."""
HUNG_S = 30.0
"""A recognizer that says nothing for so long with a model on trial is not coming back by itself."""
WAIT_S = 600.0
"""So long a change waits for a recognizer that isn't there."""
CRASHES, WITHIN_S = 3, 60.0
"""A recognizer that crashes so often in so short a time gets another model."""

_PREPARING: frozenset[Step] = frozenset({"received", "checked"})
NOT_THE_FILES_FAULT = frozenset(
    {
        Reason.MISSING, Reason.UNREADABLE, Reason.CHANGED, Reason.NO_SPACE, Reason.TIMED_OUT,
        Reason.BUSY, Reason.PINNED,
        Reason.UNSIGNED, Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE,
        Reason.OLDER, Reason.EXPIRED, Reason.NOT_FOR_THIS_CAR,
        Reason.STORE_LOCKED, Reason.STORE_DAMAGED, Reason.REFUSED_BEFORE, Reason.INCOMPLETE,
    }
)  # fmt: skip
"""The same file may be taken another time."""

log = logging.getLogger(__name__)


class Recognizer(Protocol):
    """What is asked of the recognizer. `answered` is called later, once, or at once where it isn't there."""

    @property
    def present(self) -> bool: ...

    def attempt(self, digest: str, *, renew: bool, answered: Callable[[Reply], None]) -> None: ...

    def adopt(self, digest: str) -> None: ...

    def drop(self) -> None: ...


class Preparing(Protocol):
    """What is asked of the workshop."""

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, Verdict],
        releases: Mapping[str, int],
        heard: Heard,
    ) -> None: ...

    def score(self, digest: str, heard: Heard) -> None: ...


@dataclass(frozen=True)
class TrialTerms:
    """When a trial is over, and how many models are kept beside those in use."""

    inferences: int
    seconds: float
    keep: int


class Lifecycle:
    """Called in one thread. `announce` tells each step; `clock` gives seconds."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerFile,
        workshop: Preparing,
        recognizer: Recognizer,
        announce: Callable[[ModelProgress], None],
        clock: Callable[[], float],
        terms: TrialTerms,
    ) -> None:
        self.store, self.ledger, self.words = store, ledger, Telling(store, ledger)
        self._workshop, self._recognizer = workshop, recognizer
        self._announce, self._clock, self._terms = announce, clock, terms
        self._waiting_since: float | None = None
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._asked = False
        """A question to the recognizer is unanswered."""
        self._scoring = False
        """The active model is being measured."""
        self._begun = False
        """The recognizer was asked to begin the trial."""
        self._stopped_cleanly = False
        """It was told to stop since."""

    @property
    def change(self) -> Change | None:
        """The one under way."""
        return self.ledger.now.change

    @property
    def problem(self) -> str:
        """Why no model can be changed now; empty where one can."""
        return self.store.closed or self.ledger.problem

    # beginning

    def begin(
        self, change: Change, content: bytes | None = None, seen: tuple[str, Seen] | None = None
    ) -> None:
        """Begin a change. Raises Refusal: busy, pinned, no_space, store_damaged.

        `content` is what the file at its path is to hold; `seen` is the file's entry in the ledger.
        """
        if self.change is not None:
            raise Refusal(Reason.BUSY, f"{self.change.file or 'A model'} is just being taken; wait for it.")
        self.must_be_possible()
        from_afar = change.origin in ("install", "offer") and change.activate and not change.asked
        if from_afar and self.ledger.now.pinned:
            raise Refusal(
                Reason.PINNED,
                f"{self.words.title(self.store.active)} is pinned; "
                "smartcar model unpin lets others replace it.",
            )
        files = self.ledger.now.files | (dict([seen]) if seen is not None else {})
        self.ledger.write(change=change, files=files)
        if self.ledger.problem:
            refusal = self._impossible()
            self.ledger.write(change=None)
            raise refusal
        self._go_on(content)

    def must_be_possible(self) -> None:
        """Raises Refusal where the disk takes no change."""
        if self.ledger.problem:
            self.ledger.flush()
        if self.problem:
            raise self._impossible()

    def _impossible(self) -> Refusal:
        reason = Reason.NO_SPACE if is_full(self.ledger.folder) else Reason.STORE_DAMAGED
        return Refusal(reason, f"No model can be changed: {self.problem}.")

    def recover(self) -> None:
        """Go on with what was under way when the process ended. Call once, at the beginning."""
        change = self.change
        if change is None:
            return
        if change.digest and self.store.active == change.digest:
            self._finish()  # the link had moved: only the telling was left
        elif change.attempt >= ATTEMPTS and not change.stopped:
            self._give_up(f"The car went down {ATTEMPTS} times while it was being taken.")
        else:
            self._note(attempt=change.attempt + (not change.stopped), stopped=False)
            self._go_on()

    def stop(self) -> None:
        """The process ends cleanly: what is under way will begin again, and that is no new attempt."""
        if self.change is not None:
            self._note(stopped=True)

    def pin(self, *, pinned: bool) -> None:
        """Keep the active model, or don't any more. Raises Refusal where that can't be written down."""
        before = self.ledger.now.pinned
        self.ledger.write(pinned=pinned)
        if self.ledger.problem:
            refusal = self._impossible()
            self.ledger.write(pinned=before)
            raise refusal

    # what the workshop says

    def checked(self, change: Change, model: ModelInfo | None) -> None:
        """Size, hash and signature are well, and it wasn't refused before."""
        if self._is_current(change):
            self._note(step="checked")
            self._tell("checked", model)

    def prepared(self, change: Change, outcome: Prepared | Rejected) -> None:
        """It is in the store and passed its golden test; or it is not taken."""
        if not self._is_current(change):
            return
        if isinstance(outcome, Rejected):
            self._refuse(outcome)
            return
        digest, now = outcome.model.digest, self.ledger.now
        self._note(
            {
                "scores": now.scores | {digest: outcome.score},
                "origins": now.origins | {digest: (change.origin, change.file)},
            },
            step="tested",
            source=outcome.source,
            digest=digest,
        )
        self._tell("tested")
        if not change.activate:
            self._end(
                "kept", f"{self.words.title(digest)} is in the store; smartcar model activate takes it."
            )
        elif self.store.active == digest:
            self._finish()
        else:
            self.tick()

    def scored(self, digest: str, score: Score | None) -> None:
        """A model of the store was measured, or can't be."""
        self._scoring = False
        if score is not None:
            self.ledger.write(scores=self.ledger.now.scores | {digest: score})

    def measure_active(self) -> None:
        """Its score is to be shown, and told when it is replaced."""
        if not self._scoring and self.store.active not in self.ledger.now.scores:
            self._scoring = True
            self._workshop.score(self.store.active, self)

    # what the recognizer says

    def recognizer_started(self, *, cleanly: bool) -> None:
        """Another process of it; `cleanly`: the one before was stopped, or none is known of."""
        if cleanly or self.change is not None:
            return  # what has become of a trial, the next question will show
        self._crashes.append(self._clock())
        if len(self._crashes) == CRASHES and self._clock() - self._crashes[0] < WITHIN_S:
            self._leave_active()

    def recognizer_came(self) -> None:
        """It is ready: make sure that it reads with the active model."""
        if self.change is None:
            self._recognizer.adopt(self.store.active)

    def recognizer_stopped(self) -> None:
        """It was stopped cleanly: no fault of a model on trial."""
        self._stopped_cleanly = self._begun

    def tick(self) -> None:
        """Call a few times a second."""
        if self.ledger.problem:
            self.ledger.flush()
        change = self.change
        if change is None or change.step in _PREPARING or self._asked:
            return
        if not change.on_trial:
            self._commit()
        elif self._recognizer.present:
            self._waiting_since = None
            self._asked = True
            renew, self._begun = self._begun, True
            self._recognizer.attempt(
                change.digest, renew=renew, answered=lambda reply: self._answered(change, reply)
            )
        else:
            self._wait(change)

    def _wait(self, change: Change) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._clock()
            self._note(step="waiting")
            self._tell("waiting", sentence="It is tried as soon as the recognizer runs; see smartcar status.")
        waited_s = self._clock() - self._waiting_since
        if self._begun and waited_s > HUNG_S:
            self._give_up("The recognizer has not come back since it reads with it.")
        elif waited_s > WAIT_S:
            sentence = "The recognizer doesn't run, so it can't be tried; see smartcar status."
            self._end("fallen_back", sentence, Reason.TRIAL_FAILED)

    def _answered(self, change: Change, reply: Reply) -> None:
        self._asked = False
        if not self._is_current(change):
            return
        if reply.error is not None:
            self._refused_by_recognizer(reply.error.code, reply.error.message)
            return
        report = TrialReport.model_validate(reply.data)
        if report.phase == "failed":
            self._give_up(report.problem)
        elif report.phase == "reading":
            if change.step != "trial" and self.change is not None and self.change.step != "trial":
                self._note(step="trial")
                self._tell("trial")
                self.measure_active()  # not before: it would hold up the first reading
            enough = report.inferences >= self._terms.inferences and report.seconds >= self._terms.seconds
            if enough and not self._scoring:
                self._commit()

    def _refused_by_recognizer(self, code: str, message: str) -> None:
        if code in ("no-answer", "busy", "malformed-reply"):
            return  # asked again with the next tick
        if code == "no-trial":
            self._trial_lost()
        elif code == "fixed":
            self._end("refused", f"{message[0].upper()}{message[1:]}.", Reason.PINNED)
        else:
            self._give_up(message)

    def _trial_lost(self) -> None:
        """The recognizer was restarted since."""
        change, cleanly = self.change, self._stopped_cleanly
        assert change is not None
        self._forget_trial()
        if cleanly:
            return
        if change.attempt >= ATTEMPTS:
            self._give_up(f"The recognizer ended {ATTEMPTS} times while it read with it.")
        else:
            self._note(attempt=change.attempt + 1, step="tested")
            self._tell("tested", sentence="The recognizer ended while it read with it; it is tried again.")

    # ending

    def _commit(self) -> None:
        change = self.change
        assert change is not None
        try:
            self.store.activate(change.digest)
        except Refusal as refusal:
            self._give_up(str(refusal))
            return
        self._finish()

    def _finish(self) -> None:
        """The store's active model is the change's: tell it, and forget the change."""
        change, now = self.change, self.ledger.now
        assert change is not None
        self._recognizer.adopt(change.digest)
        manifest = self.store.load(change.digest).manifest
        newest = max(manifest.release, now.releases.get(manifest.name, 0))
        wanted = {change.digest, change.source}
        self._end(
            "active",
            self.words.comparison(change),
            also={
                "pinned": now.pinned or change.pins,
                "releases": now.releases | {manifest.name: newest},
                "refused": {key: verdict for key, verdict in now.refused.items() if key not in wanted},
            },
        )
        try:
            self.store.retain(self._terms.keep)
        except Refusal as refusal:
            log.warning("old models can't be removed: %s", refusal)

    def _refuse(self, outcome: Rejected) -> None:
        change, refusal = self.change, outcome.refusal
        assert change is not None
        self._note(source=outcome.source, digest=outcome.digest)
        blamed = () if refusal.reason in NOT_THE_FILES_FAULT else (outcome.source, outcome.digest)
        self._end("refused", str(refusal), refusal.reason, blamed=blamed)

    def _give_up(self, sentence: str) -> None:
        """Fall back: the model before goes on, and this one is not tried again by itself."""
        change = self.change
        assert change is not None
        self._recognizer.drop()
        title = self.words.title(change.digest) if change.digest else change.file
        told = f"{title} was given up: {sentence} The car reads with {self.words.title(self.store.active)}."
        self._end("fallen_back", told, Reason.TRIAL_FAILED, blamed=(change.source, change.digest))

    def _leave_active(self) -> None:
        """The recognizer can't live with the active model: back to the one before, or to the shipped one."""
        store, bad = self.store, self.store.active
        self._crashes.clear()
        if bad == store.factory:
            return  # not the model's fault, or beyond our help
        sentence = (
            f"The recognizer crashed {CRASHES} times within {WITHIN_S:g} s with {self.words.title(bad)}."
        )
        verdict = Verdict(reason=Reason.TRIAL_FAILED, sentence=sentence, at=datetime.now(UTC))
        change = Change(
            id=new_ulid(),
            origin="store",
            digest=store.previous or store.factory,
            step="tested",
            on_trial=False,
        )
        self.ledger.write(refused=self.ledger.now.refused | {bad: verdict}, change=change)
        log.error("%s", sentence)
        self._tell("tested", sentence=sentence)
        self._commit()

    def _end(
        self,
        step: Step,
        sentence: str,
        reason: str = "",
        *,
        blamed: tuple[str, ...] = (),
        also: Mapping[str, Any] | None = None,
    ) -> None:
        change, now = self.change, self.ledger.now
        assert change is not None
        level = logging.WARNING if reason else logging.INFO
        about = fields(change=change.id, digest=change.digest)
        log.log(level, "%s: %s%s", step, f"{reason}: " if reason else "", sentence, extra=about)
        verdict = Verdict(reason=reason, sentence=sentence, at=datetime.now(UTC))
        refused = now.refused | {key: verdict for key in blamed if key}
        # Told before it is forgotten: it may be told twice, but not never.
        self._tell(step, reason=reason, sentence=sentence)
        self._forget_trial()
        self._waiting_since = None
        ended = now.ended | {change.id: (step, change.digest)}
        self.ledger.write(**{"change": None, "refused": refused, "ended": ended, **(also or {})})
        if change.path and change.origin != "inbox":
            durable.remove_tree(Path(change.path))

    # small help

    def _go_on(self, content: bytes | None = None) -> None:
        change, now = self.change, self.ledger.now
        assert change is not None
        self._forget_trial()
        if change.step in _PREPARING or change.digest not in self.store.digests:
            if content is None and not os.path.lexists(change.path):
                self._end("interrupted", "The updater was ended before it had the file.", Reason.MISSING)
                return
            self._note(step="received")
            self._tell("received")
            self._workshop.prepare(change, content, now.refused, now.releases, self)
        else:
            self._note(step="tested")
            self._tell("tested")
            self.tick()

    def _is_current(self, change: Change) -> bool:
        return self.change is not None and self.change.id == change.id

    def _forget_trial(self) -> None:
        self._asked = self._begun = self._stopped_cleanly = False

    def _note(self, also: Mapping[str, Any] | None = None, **changed: Any) -> None:
        """Change the change, on the disk too."""
        change = self.change
        assert change is not None
        coming = change.model_copy(update=changed)
        if coming != change or also:
            self.ledger.write(change=coming, **(also or {}))

    def _tell(self, step: Step, model: ModelInfo | None = None, reason: str = "", sentence: str = "") -> None:
        assert self.change is not None
        self._announce(self.words.progress(self.change, step, model, reason, sentence))
