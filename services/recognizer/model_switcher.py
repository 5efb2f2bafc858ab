"""Which model reads: the active one, or another on trial, which takes over between two frames.

A trial lives in memory alone. Whatever ends the recognizer ends the trial, and the next start reads with the
store's active model again. The last adoption that was asked for wins, and cancels loads that began before it.
A model that failed while it read is unusable until somebody tries it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from messages.command import CommandRefused
from messages.errors import ErrorCode
from messages.recognizer_commands import (
    RecognizerAdopt,
    RecognizerDrop,
    RecognizerModel,
    RecognizerTry,
    TrialReport,
)
from messages.rpc.server import DeferredReply
from models.refusal import Refusal
from models.store_reader import bundle_folder
from services.recognizer.model import LoadedModel

LEASE_S = 5.0
"""A trial that nobody has asked after for so long is over."""

Load = Callable[[Path], LoadedModel]

log = logging.getLogger(__name__)


class ModelTrial:
    """One model on trial, from its loading on."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.model: LoadedModel | None = None
        self.problem = ""
        self.inferences = 0
        self.asked_at = time.monotonic()
        self.began_at = 0.0
        self.exercised_at = 0

    @property
    def phase(self) -> Literal["loading", "reading", "failed"]:
        if self.problem:
            return "failed"
        return "loading" if self.model is None else "reading"

    def report(self) -> TrialReport:
        seconds = time.monotonic() - self.began_at if self.phase == "reading" else 0.0
        return TrialReport(
            digest=self.digest,
            phase=self.phase,
            seconds=round(seconds, 3),
            inferences=self.inferences,
            problem=self.problem,
        )


@dataclass(eq=False)
class _Adoption:
    """A model that is being loaded to become the active one, and who waits for that."""

    digest: str
    waiting: list[DeferredReply]


class ModelSwitcher:
    """The model that reads, and the one it stands in for.

    `load(folder)` is called in a thread, `call_soon` brings its outcome into the loop, where all else is
    called. `changed()` tells that another model reads from here on. `unusable` holds why, by digest.
    """

    def __init__(
        self,
        model: LoadedModel,
        store: Path,
        load: Load,
        call_soon: Callable[[Callable[[], None]], None],
        changed: Callable[[], None],
        unusable: dict[str, str],
    ) -> None:
        self.active, self.unusable = model, unusable
        self._store = store
        self._load, self._call_soon, self._changed = load, call_soon, changed
        self._trial: ModelTrial | None = None
        self._adoption: _Adoption | None = None
        self._beside: LoadedModel | None = None

    @property
    def reading(self) -> LoadedModel:
        """The model that reads frames."""
        return self.candidate or self.active

    @property
    def candidate(self) -> LoadedModel | None:
        """The model on trial, where one reads."""
        return self._trial.model if self._trial is not None and not self._trial.problem else None

    def fail(self, error: Exception, instead: LoadedModel) -> None:
        """The model that reads has failed: a trial is over; an active one gives way to `instead`."""
        problem = f"{error}" or type(error).__name__
        self.unusable[self.reading.info.digest] = problem
        if self._trial is not None and self.candidate is not None:
            log.warning("the model on trial failed: %s", problem)
            self._trial.problem, self._trial.model = problem, None
        else:
            log.warning("the active model failed: %s", problem)
            self.active = instead
        self._changed()

    # what the updater asks

    def attempt(self, command: RecognizerTry) -> TrialReport:
        """Begin a trial, or tell how it is going. Raises CommandRefused: no-trial."""
        trial = self._trial
        if trial is not None and trial.digest == command.bundle:
            trial.asked_at = time.monotonic()
            return trial.report()
        if command.renew:
            raise CommandRefused("no-trial", f"Model {command.bundle[:12]} is not on trial here.")
        self._end_trial()
        self._cancel_adoption()
        self.unusable.pop(command.bundle, None)
        self._beside = None
        self._trial = trial = ModelTrial(command.bundle)
        self._in_thread(trial.digest, lambda outcome: self._loaded(trial, outcome))
        return trial.report()

    def adopt(self, command: RecognizerAdopt) -> RecognizerModel | DeferredReply:
        """The active model is this one from here on. Refuses, at once or later: unusable, busy."""
        digest, trial, adoption = command.bundle, self._trial, self._adoption
        if digest in self.unusable:
            raise CommandRefused("unusable", self.unusable[digest])
        if trial is not None and trial.digest == digest and trial.model is not None:
            self.active, self._trial = trial.model, None
        if self.active.info.digest == digest:
            self._cancel_adoption()
            self._trial = None
            self._changed()
            return RecognizerModel(model=self.active.info)
        later = DeferredReply()
        if adoption is not None and adoption.digest == digest:
            adoption.waiting.append(later)
            return later
        self._cancel_adoption()
        self._adoption = adoption = _Adoption(digest, [later])
        self._in_thread(digest, lambda outcome: self._adopted(adoption, outcome))
        return later

    def drop(self, _: RecognizerDrop) -> RecognizerModel:
        self._end_trial()
        return RecognizerModel(model=self.active.info)

    def beside(self, digest: str, use: Callable[[LoadedModel | Exception], None]) -> None:
        """Hand a model of the store to `use`, once it is loaded; the last one stays at hand."""
        for model in (self.active, self.candidate, self._beside):
            if model is not None and model.info.digest == digest:
                use(model)
                return

        def loaded(outcome: LoadedModel | Exception) -> None:
            if isinstance(outcome, LoadedModel):
                self._beside = outcome
            use(outcome)

        self._in_thread(digest, loaded)

    # what happens meanwhile

    def count(self, digits: int) -> None:
        """So many digits were read without a fault."""
        if self._trial is not None and self.candidate is not None:
            self._trial.inferences += digits

    def tick(self) -> None:
        """Call a few times a second: nobody may be writing, and the updater may be gone."""
        trial = self._trial
        if trial is None:
            return
        if time.monotonic() - trial.asked_at > LEASE_S:
            log.warning("nobody asks after the model on trial any more; the active one reads again")
            self._end_trial()
        elif trial.model is not None and trial.inferences == trial.exercised_at:
            try:
                trial.inferences += trial.model.exercise()
            except Exception as error:  # whatever it is: a model on trial is not to end the recognizer
                self.fail(error, self.active)
        trial.exercised_at = trial.inferences

    def _end_trial(self) -> None:
        trial, self._trial = self._trial, None
        if trial is not None and trial.model is not None:
            self._changed()

    def _loaded(self, trial: ModelTrial, outcome: LoadedModel | Exception) -> None:
        if self._trial is not trial:
            return  # dropped meanwhile
        if isinstance(outcome, Exception):
            trial.problem = f"{outcome}"
            return
        trial.model = outcome
        trial.began_at = time.monotonic()
        self._changed()

    def _adopted(self, adoption: _Adoption, outcome: LoadedModel | Exception) -> None:
        if self._adoption is not adoption:
            return  # another one was asked for since
        self._adoption = None
        if isinstance(outcome, LoadedModel):
            self.active, self._trial = outcome, None
            self._changed()
        for later in adoption.waiting:
            if isinstance(outcome, LoadedModel):
                later.answer(RecognizerModel(model=outcome.info))
            elif isinstance(outcome, Refusal) and outcome.reason == ErrorCode.UNREADABLE:
                later.refuse("busy", f"{outcome}")
            else:
                later.refuse("unusable", f"{outcome}")

    def _cancel_adoption(self) -> None:
        adoption, self._adoption = self._adoption, None
        for later in adoption.waiting if adoption is not None else ():
            later.refuse("busy", "another model was asked for meanwhile")

    def _in_thread(self, digest: str, done: Callable[[LoadedModel | Exception], None]) -> None:
        """Load a model of the store without keeping a frame waiting."""

        def work() -> None:
            outcome: LoadedModel | Exception
            try:
                outcome = self._load(bundle_folder(self._store, digest))
                if outcome.info.digest != digest:
                    outcome = ValueError(
                        f"the store holds {outcome.info.digest[:12]} in place of {digest[:12]}"
                    )
            except Exception as error:  # told to whoever asked
                outcome = error
            self._call_soon(lambda: done(outcome))

        threading.Thread(target=work, name="load", daemon=True).start()
