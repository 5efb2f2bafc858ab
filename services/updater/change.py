"""A change of the active model, step by step. One at a time, and whatever is killed whenever, the car reads
with the old model or the new one.

    received ─► checked ─► tested ─► (waiting) ─► trial ─► active
        └──────────┴──────────┴───────────┴─────────┴────► refused · fallen back · interrupted · kept

The state file has the change under way, the store has the models, the recognizer has the trial in its memory.
The store's `active` moves when the trial is over; until then any crash leads back by itself. How a change
ends is on the disk before it is told.

    changes.begin(Change(id="1", origin="inbox", file="model.h5", path="/data/model.h5"))
    changes.advance()    # whenever something has happened, and a few times a second while it `is_on_trial`
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from messages import durable
from messages.errors import ErrorCode
from messages.message import new_ulid
from messages.models import ModelProgress, Step
from messages.text import escaped
from messages.vision import ModelInfo
from models.refusal import Refusal
from services.log import fields
from services.updater.preparation import NOT_TO_BLAME, PASSING, Checked, Rejected, Result, Scored, Worker
from services.updater.recognizer import CRASHES, WITHIN_S, RecognizerPeer, Trial, TrialNews, TrialTerms
from services.updater.state import Change, FileStamp, ModelStatus, Outcome, PastRefusal

ATTEMPTS = 3
"""A change that ended so often in a crash is given up."""

_PREPARING: frozenset[Step] = frozenset({"received", "checked"})
log = logging.getLogger(__name__)


class ChangeRunner:
    """Called in one thread. `announce` tells each step for good; `clock` gives seconds."""

    def __init__(
        self,
        status: ModelStatus,
        worker: Worker,
        recognizer: RecognizerPeer,
        announce: Callable[[ModelProgress], None],
        clock: Callable[[], float],
        terms: TrialTerms,
    ) -> None:
        self.store, self.state, self.status = status.store, status.state_file, status
        self.news: deque[tuple[Change, ModelProgress]] = deque()
        """What was told since somebody looked, for the other parts of the updater."""
        self._worker, self._recognizer = worker, recognizer
        self._announce, self._clock, self._terms = announce, clock, terms
        self._steps: dict[Step, Callable[[Change], None]] = {
            "received": lambda _: None,  # the worker says when it is done
            "checked": lambda _: None,
            "tested": self._try_out,
            "waiting": self._try_out,
            "trial": self._try_out,
        }
        self._outcome: Outcome | None = None
        """Decided, and not on the disk yet."""
        self._trial: Trial | None = None
        self._scoring = False
        """The active model is being measured."""

    @property
    def change(self) -> Change | None:
        """The one under way."""
        return self.state.now.change

    @property
    def is_on_trial(self) -> bool:
        return self.change is not None and self.change.step not in _PREPARING

    @property
    def problem(self) -> str:
        """Why no model can be changed now; empty where one can."""
        return self.store.closed or self.state.problem

    # beginning

    def begin(
        self, change: Change, content: bytes | None = None, files: Mapping[str, FileStamp] | None = None
    ) -> None:
        """Begin a change. Raises Refusal, and nothing has changed: busy, pinned, no_space, store_damaged.

        `content` is what the file at its path is to hold; `files` is the state's table of files with its own.
        """
        self.must_be_let(change)
        self.state.commit(change=change, **({"files": files} if files is not None else {}))
        self._go_on(content)
        self.advance()

    def must_be_let(self, change: Change) -> None:
        """Raises Refusal where the change can't begin now."""
        if self.change is not None:
            raise Refusal(
                ErrorCode.BUSY, f"{self.change.file or 'A model'} is just being taken. Wait for it."
            )
        self.must_be_possible()
        from_afar = change.origin in ("install", "offer") and change.activate and not change.asked
        if from_afar and self.state.now.pinned:
            raise self.status.pinned("others")

    def must_be_possible(self) -> None:
        """Raises Refusal where the disk takes no change."""
        if self.state.problem:
            self.state.flush()
        if self.problem:
            raise self.state.refusal(self.problem)

    def recover(self) -> None:
        """Go on with what was under way when the process ended. Call once, at the beginning."""
        change = self.change
        if self.state.damaged is not None:  # what was released is never forgotten
            self.state.write(releases=self.store.newest_releases())
        if change is None:
            return
        if change.outcome is not None:
            self._outcome = change.outcome  # decided: `advance` tells it
        elif change.digest and self.store.active == change.digest:
            self._finish()  # the link had moved: only the telling was left
        elif change.attempt >= ATTEMPTS and not change.stopped:
            self._give_up(f"The car went down {ATTEMPTS} times while it was being taken.")
        else:
            self._note(attempt=change.attempt + (not change.stopped), stopped=False)
            self._go_on()
        self.advance()

    def stop(self) -> None:
        """The process was asked to stop: what is under way will begin again, and that is no new attempt."""
        if self.change is not None:
            self._note(stopped=True)

    def measure_active(self) -> None:
        """Its score is to be shown, and told when it is replaced."""
        if not self._scoring and self.store.active not in self.state.now.scores:
            self._scoring = True
            self._worker.score(self.store.active)

    # what happens

    def advance(self) -> None:
        if self.state.problem:
            self.state.flush()
        for result in self._worker.results():
            self._take(result)
        if self._outcome is not None:
            self._conclude(self._outcome)
        elif self.change is not None:
            self._recognizer.forget_crashes()  # what has become of a trial, its next question shows
            self._steps[self.change.step](self.change)
        else:
            self._compare()

    def _compare(self) -> None:
        """What the recognizer reads with is the store's active model, or is to be."""
        recognizer, active = self._recognizer, self.store.active
        if why := recognizer.refused(active):
            self._leave_active(why)
        elif recognizer.crashes_often():
            self._leave_active(f"the recognizer crashed {CRASHES} times within {WITHIN_S:g} s with it.")
        elif recognizer.reading not in ("", active):
            recognizer.adopt(active)

    def _take(self, result: Result) -> None:
        if isinstance(result, Scored):
            self._scoring = False
            if result.score is not None:
                self.state.write(scores=self.state.now.scores | {result.digest: result.score})
            return
        change, now = self.change, self.state.now
        if change is None or change.id != result.change:
            return
        if isinstance(result, Checked):
            self._step_to("checked", model=result.model)
        elif isinstance(result, Rejected):
            self._note(source=result.source, digest=result.digest)
            refusal, passes = result.refusal, result.refusal.reason in PASSING
            blamed = () if refusal.reason in NOT_TO_BLAME else (result.source, result.digest)
            self._end("refused", str(refusal), refusal.reason, blamed=blamed, again=passes)
        else:
            digest = result.model.digest
            scores = now.scores | {digest: result.score}
            self.state.write(scores=scores, origins=now.origins | {digest: (change.origin, change.file)})
            wants = ", ".join(result.peculiarities)
            sentence = f"It is given its digits as it wants them: {wants}." if wants else ""
            self._step_to("tested", sentence, source=result.source, digest=digest)

    # the steps

    def _go_on(self, content: bytes | None = None) -> None:
        """From the beginning, or with the trial where the model is in the store already."""
        change, now = self.change, self.state.now
        assert change is not None
        if change.step in _PREPARING or change.digest not in self.store.digests:
            if content is None and not os.path.lexists(change.location):
                self._end("interrupted", "The updater was ended before it had the file.", ErrorCode.MISSING)
                return
            self._step_to("received")
            self._worker.prepare(change, content, now.refused, now.releases)
        else:
            self._step_to("tested")

    def _try_out(self, change: Change) -> None:
        if not change.activate:
            title = self.status.title(change.digest)
            self._end("kept", f"{title} is in the store; smartcar model activate takes it.")
        elif not change.on_trial or self.store.active == change.digest:
            self._commit(change)
        else:
            if self._trial is None:
                self._trial = Trial(self._recognizer, change.digest, self._terms, self._clock)
            self._take_news(change, self._trial.advance())

    def _take_news(self, change: Change, news: TrialNews | None) -> None:
        if news is None:
            return
        if news.kind == "waiting":
            self._step_to("waiting", news.sentence)
        elif news.kind in ("reading", "passed"):
            if change.step != "trial":
                self._step_to("trial")
                self.measure_active()  # not before: it would hold up the first reading
            if news.kind == "passed" and not self._scoring:
                self._commit(change)
        elif news.kind == "fixed":
            self._end("refused", news.sentence, ErrorCode.PINNED)
        elif news.kind == "absent":
            self._end("fallen_back", news.sentence, ErrorCode.TRIAL_FAILED, again=True)
        elif news.kind == "failed":
            self._give_up(news.sentence)
        elif change.attempt >= ATTEMPTS:
            self._give_up(f"The recognizer ended {ATTEMPTS} times while it read with it.")
        else:
            self._step_to("tested", news.sentence, attempt=change.attempt + 1)

    # ending

    def _commit(self, change: Change) -> None:
        try:
            self.store.activate(change.digest)
        except Refusal as refusal:
            self._give_up(str(refusal), blame=refusal.reason not in NOT_TO_BLAME)
        else:
            self._finish()

    def _finish(self) -> None:
        """The store's active model is the change's: tell it, and forget the change."""
        change, now = self.change, self.state.now
        assert change is not None
        self._recognizer.adopt(change.digest)
        wanted = change.digest, change.source
        self._forget(
            Outcome(step="active", sentence=self.status.comparison(change.digest)),
            pinned=now.pinned or change.pins,
            releases=self.status.releases_with(change.digest),
            refused={key: why for key, why in now.refused.items() if key not in wanted},
        )
        with suppress(Refusal):  # old models that can't be removed stay
            self.store.retain(self._terms.keep)

    def _give_up(self, sentence: str, *, blame: bool = True) -> None:
        """Fall back: the model before goes on; this one is not tried again by itself where it is to blame."""
        change = self.change
        assert change is not None
        self._recognizer.drop()
        title = self.status.title(change.digest) if change.digest else change.file
        told = f"{title} was given up: {sentence} The car reads with {self.status.title(self.store.active)}."
        blamed = (change.source, change.digest) if blame else ()
        self._end("fallen_back", told, ErrorCode.TRIAL_FAILED, blamed=blamed, again=not blame)

    def _leave_active(self, why: str) -> None:
        """The recognizer can't live with the active model: back to the one before, or to the shipped one."""
        store, bad = self.store, self.store.active
        if bad == store.factory or self.problem:
            return  # not the model's fault, or beyond our help for now
        sentence = f"{self.status.title(bad)} can't be used: {why}"
        refused = self.state.now.refused | {bad: PastRefusal.now(ErrorCode.TRIAL_FAILED, sentence)}
        digest = store.factory if store.previous in {*refused, None} else store.previous or ""
        change = Change(id=new_ulid(), origin="store", digest=digest, step="tested", on_trial=False)
        self.state.write(refused=refused, change=change)
        log.error("%s", sentence)
        self._tell("tested", sentence=sentence)
        self.advance()

    def _end(self, step: Step, sentence: str, reason: str = "", **more: Any) -> None:
        self._outcome = Outcome(step=step, reason=reason, sentence=sentence, **more)
        self._conclude(self._outcome)

    def _conclude(self, outcome: Outcome) -> None:
        """Tell how the change ended, once that is on the disk: after a restart it is not otherwise."""
        change, now = self.change, self.state.now
        assert change is not None
        if change.outcome is None:
            try:
                self.state.commit(change=change.model_copy(update={"outcome": outcome}))
            except Refusal:
                return  # `problem` says so, and it is tried again
        refusal = PastRefusal.now(outcome.reason, outcome.sentence)
        refused = now.refused | {key: refusal for key in outcome.blamed if key}
        comes_again = outcome.again and change.origin == "inbox" and escaped(change.location.name)
        files = {name: stamp for name, stamp in now.files.items() if name != comes_again}
        self._forget(outcome, refused=refused, files=files)

    def _forget(self, outcome: Outcome, **also: Any) -> None:
        """Tell how the change ended, and forget it: it may be told twice, but not never."""
        change, reason = self.change, outcome.reason
        assert change is not None
        about = fields(change=change.id, digest=change.digest)
        say = log.warning if reason else log.info
        say("%s: %s %s", outcome.step, reason, outcome.sentence, extra=about)
        self._tell(outcome.step, reason=reason, sentence=outcome.sentence)
        self._trial = self._outcome = None
        ended = self.state.now.ended | {change.id: (outcome.step, change.digest)}
        self.state.write(change=None, ended=ended, **also)
        if change.upload and outcome.again:
            with suppress(OSError):  # then it must be uploaded again
                durable.rename(change.location, change.location.with_name(change.upload))
        elif change.path and change.origin != "inbox":
            durable.remove_tree(change.location)

    def _note(self, **changed: Any) -> None:
        """Change the change, on the disk too."""
        assert self.change is not None
        coming = self.change.model_copy(update=changed)
        if coming != self.change:
            self.state.write(change=coming)

    def _step_to(
        self, step: Step, sentence: str = "", model: ModelInfo | None = None, **changed: Any
    ) -> None:
        self._note(step=step, **changed)
        self._tell(step, model, sentence=sentence)

    def _tell(self, step: Step, model: ModelInfo | None = None, reason: str = "", sentence: str = "") -> None:
        assert self.change is not None
        progress = self.status.progress(self.change, step, model, reason, sentence)
        self._announce(progress)
        self.news.append((self.change, progress))
