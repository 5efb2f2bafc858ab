"""What the updater says of models and of a change, from what its store and its state know.

status.title(digest)          # "digits 1.2.0"
status.progress(change, "trial")
"""

from __future__ import annotations

from messages.models import ENDED, PERCENT, ModelProgress, ModelState, Step
from messages.offers import StandingOffer
from messages.text import printable
from messages.vision import ModelInfo
from models.bundle.manifest import Manifest
from models.refusal import Refusal
from models.store import Store
from services.updater.state import Change, StateFile


class ModelStatus:
    """Names models, and puts into words how a change is going, from what the store and the state know."""

    def __init__(self, store: Store, state: StateFile) -> None:
        self._store, self._state = store, state
        self._infos: dict[str, ModelInfo] = {}

    def info(self, digest: str, manifest: Manifest | None = None) -> ModelInfo:
        """What a model of the store is called; its digest alone where its manifest can't be read."""
        if digest not in self._infos:
            try:
                manifest = manifest or self._store.load(digest).manifest
            except Refusal:
                return ModelInfo(name=digest[:12], version="?", digest=digest)
            self._infos[digest] = ModelInfo(name=manifest.name, version=manifest.version, digest=digest)
        return self._infos[digest]

    def title(self, digest: str) -> str:
        """Name and version, for people."""
        info = self.info(digest)
        return f"{info.name} {info.version}"

    def state(self, follows: tuple[str, ...] = (), offers: tuple[StandingOffer, ...] = ()) -> ModelState:
        """Which model is which now, and what is offered."""
        change, previous = self._state.now.change, self._store.previous
        return ModelState(
            active=self.info(self._store.active),
            previous=self.info(previous) if previous is not None else None,
            trial=self.info(change.digest) if change is not None and change.step == "trial" else None,
            pinned=self._state.now.pinned,
            change=change.id if change is not None else "",
            step=change.step if change is not None else None,
            models=len(self._store.digests),
            releases=self._state.now.releases,
            follows=follows,
            offers=offers,
        )

    def progress(
        self, change: Change, step: Step, model: ModelInfo | None = None, reason: str = "", sentence: str = ""
    ) -> ModelProgress:
        """A step of the change, with the scores of both models as far as they are known."""
        scores = self._state.now.scores
        replaced = self._store.previous if step == "active" else self._store.active
        score, old = scores.get(change.digest), scores.get(replaced or "")
        if model is None and change.digest in self._store.digests:
            model = self.info(change.digest)
        return ModelProgress(
            change=change.id,
            step=step,
            percent=100 if step in ENDED else PERCENT[step],
            origin=change.origin,
            file=change.file,
            model=model,
            accuracy=score.accuracy if score else None,
            latency_ms=round(score.latency_ms, 3) if score else None,
            replaced=self.info(replaced) if replaced is not None else None,
            replaced_accuracy=old.accuracy if old else None,
            attempt=change.attempt,
            reason=reason,
            sentence=printable(sentence, 2000),
        )

    def comparison(self, digest: str) -> str:
        """The new active model and the one before it, in a sentence or two."""
        scores, before = self._state.now.scores, self._store.previous
        new, old = scores.get(digest), scores.get(before or "")
        sentence = f"The car reads with {self.title(digest)} now."
        if new is None or old is None or before is None:
            return sentence
        return (
            f"{sentence} It reads {new.accuracy:.1%} of the golden digits; "
            f"{self.title(before)} before it {old.accuracy:.1%}."
        )
