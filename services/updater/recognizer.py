"""The recognizer as the updater sees it: whether it is there, what it reads with, and how a trial is going.

Everything is asked for by level: `reading` is what the newest heartbeat says, a refusal stays until somebody
looks. Nothing here calls back into the updater.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from messages.command import Reply
from messages.errors import ErrorCode
from messages.health import Heartbeat
from messages.presence import Presence
from messages.recognizer_commands import RecognizerAdopt, RecognizerDrop, RecognizerTry, TrialReport
from messages.rpc.clients import Ask

HUNG_S = 30.0
"""A recognizer that says nothing for so long with a model on trial is not coming back by itself."""
WAIT_S = 600.0
"""A change waits for a recognizer that isn't there for so long."""
CRASHES, WITHIN_S = 3, 60.0
"""A recognizer that crashes so often in so short a time gets another model."""
_THERE = frozenset({"ready", "degraded"})
_ASK_AGAIN = frozenset({ErrorCode.NO_ANSWER, ErrorCode.BUSY, ErrorCode.MALFORMED_REPLY})

log = logging.getLogger(__name__)


class RecognizerPeer:
    """Asks the recognizer by `ask`, and learns from the heartbeats that `presence` has heard."""

    def __init__(self, ask: Ask, presence: Presence, clock: Callable[[], float]) -> None:
        self.ask = ask
        self.stops = 0
        """How often it was stopped on purpose."""
        self._presence, self._clock = presence, clock
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._boot_id = self._stopped = self._fixed = ""
        self._adopting = self._adopted = ""
        self._refused: dict[str, str] = {}

    @property
    def present(self) -> bool:
        """Whether it is there to be asked."""
        beat = self._presence.beat
        return self._presence.is_there and beat is not None and beat.state in _THERE

    @property
    def reading(self) -> str:
        """The digest of the model that it reads with; empty where that isn't known, or fixed by a setting."""
        beat = self._presence.beat
        if beat is None or not self.present or self._fixed == beat.boot_id:
            return ""
        return self._adopted or beat.details.get("digest", "")

    def heard(self, beat: Heartbeat) -> None:
        """A heartbeat came, of which `presence` knows. A process that went without a goodbye has crashed."""
        self._adopted = ""
        if beat.state == "stopped":
            self.stops += self._stopped != beat.boot_id
            self._stopped = beat.boot_id
        elif beat.boot_id != self._boot_id:
            if self._boot_id not in ("", self._stopped):
                self._crashes.append(self._clock())
            self._boot_id = beat.boot_id

    def crashes_often(self) -> bool:
        """Whether it has crashed CRASHES times within WITHIN_S seconds, since that was last asked for."""
        often = len(self._crashes) == CRASHES and self._crashes[-1] - self._crashes[0] < WITHIN_S
        if often:
            self._crashes.clear()
        return often

    def forget_crashes(self) -> None:
        """They say nothing of the active model."""
        self._crashes.clear()

    def adopt(self, digest: str) -> None:
        """Have it read with the store's active model; asked again while its heartbeats say otherwise."""
        if self.present and self._adopting != digest:
            self._adopting = digest
            self.ask(RecognizerAdopt(bundle=digest), lambda reply: self._answered(digest, reply))

    def refused(self, digest: str) -> str:
        """Why it can't read with that model; empty where it has not said so since that was last asked for."""
        return self._refused.pop(digest, "")

    def drop(self) -> None:
        """Have it read with the active model again. A trial that nobody asks after ends by itself, too."""
        if self.present:
            self.ask(RecognizerDrop(), _log_refusal)

    def _answered(self, digest: str, reply: Reply) -> None:
        if self._adopting == digest:
            self._adopting = ""
        if reply.error is None:
            self._adopted = digest
        elif reply.error.code == ErrorCode.FIXED and self._presence.beat is not None:
            self._fixed = self._presence.beat.boot_id
        elif reply.error.code == ErrorCode.UNUSABLE:
            self._refused[digest] = reply.error.message
        else:
            _log_refusal(reply)


def _log_refusal(reply: Reply) -> None:
    if reply.error is not None and reply.error.code != ErrorCode.FIXED:
        log.warning("the recognizer: %s", reply.error.message)


@dataclass(frozen=True)
class TrialTerms:
    """When a trial is over, and how many models are kept beside those in use."""

    inferences: int
    seconds: float
    keep: int


@dataclass(frozen=True)
class TrialNews:
    """What has become of a trial.

    `waiting` for the recognizer; `absent`, since it did not come at all; `lost`, since it ended while it read
    with the model; `fixed`, since its model stands in the settings.
    """

    kind: Literal["waiting", "reading", "passed", "lost", "failed", "absent", "fixed"]
    sentence: str = ""


class Trial:
    """The trial of one model, seen through by `advance`."""

    def __init__(
        self, recognizer: RecognizerPeer, digest: str, terms: TrialTerms, clock: Callable[[], float]
    ) -> None:
        self.digest = digest
        self._recognizer, self._terms, self._clock = recognizer, terms, clock
        self._reply: Reply | None = None
        self._asked = self._begun = False
        self._stops = recognizer.stops
        self._waiting_since: float | None = None

    def advance(self) -> TrialNews | None:
        """Ask what is to be asked, and say what is new. Call a few times a second."""
        reply, self._reply = self._reply, None
        if reply is not None:
            self._asked = False
            return self._news(reply)
        if not self._recognizer.present:
            return self._waited()
        self._waiting_since = None
        if not self._asked:
            if not self._begun:
                self._stops = self._recognizer.stops
            command = RecognizerTry(bundle=self.digest, renew=self._begun)
            self._asked = self._begun = True
            self._recognizer.ask(command, self._answered)
        return None

    def _answered(self, reply: Reply) -> None:
        self._reply = reply

    def _waited(self) -> TrialNews | None:
        if self._waiting_since is None:
            self._waiting_since = self._clock()
            return TrialNews("waiting", "It is tried as soon as the recognizer runs; see smartcar status.")
        waited_s = self._clock() - self._waiting_since
        if self._begun and waited_s > HUNG_S:
            return TrialNews("failed", "The recognizer has not come back since it reads with it.")
        if waited_s > WAIT_S:
            return TrialNews(
                "absent", "The recognizer doesn't run, so it can't be tried; see smartcar status."
            )
        return None

    def _news(self, reply: Reply) -> TrialNews | None:
        if reply.error is not None:
            return self._refused(reply.error.code, reply.error.message)
        report = TrialReport.model_validate(reply.data)
        if report.phase == "loading":
            return None
        if report.phase == "failed":
            return TrialNews("failed", report.problem)
        enough = report.inferences >= self._terms.inferences and report.seconds >= self._terms.seconds
        return TrialNews("passed" if enough else "reading")

    def _refused(self, code: str, message: str) -> TrialNews | None:
        if code in _ASK_AGAIN:
            return None
        if code == ErrorCode.FIXED:
            return TrialNews("fixed", message)
        if code != ErrorCode.NO_TRIAL:
            return TrialNews("failed", message)
        self._begun = False
        if self._recognizer.stops > self._stops:
            return None  # it was stopped on purpose, and the trial begins anew
        return TrialNews("lost", "The recognizer ended while it read with it; it is tried again.")
