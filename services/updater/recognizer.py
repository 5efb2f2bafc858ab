"""The recognizer as the updater sees it: whether it is there, and what is asked of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from messages.command import Command, Reply
from messages.health import Heartbeat
from messages.presence import Presence
from messages.recognizer_commands import RecognizerAdopt, RecognizerDrop, RecognizerTry
from messages.rpc.clients import Ask

DEADLINE_S = 2.0
_THERE = frozenset({"ready", "degraded"})

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told how the recognizer fares."""

    def recognizer_started(self, *, cleanly: bool) -> None: ...

    def recognizer_came(self) -> None: ...

    def recognizer_stopped(self) -> None: ...


class RecognizerLink:
    """Asks, and learns from heartbeats; `listener` is told of what they mean."""

    def __init__(self, ask: Ask, presence: Presence) -> None:
        self._ask = ask
        self._presence = presence
        self._boot_id = self._came = ""
        self._said_goodbye = False
        self.listener: Listener | None = None

    @property
    def present(self) -> bool:
        """Whether it is there to be asked."""
        beat = self._presence.beat
        return beat is not None and beat.state in _THERE and self._presence.is_there

    def heard(self, beat: Heartbeat) -> None:
        """A heartbeat of the recognizer."""
        assert self.listener is not None
        if beat.state == "stopped":
            self._said_goodbye = True
            self.listener.recognizer_stopped()
            return
        if beat.boot_id != self._boot_id:
            cleanly = self._said_goodbye or not self._boot_id
            self._boot_id, self._said_goodbye = beat.boot_id, False
            self.listener.recognizer_started(cleanly=cleanly)
        if beat.state in _THERE and beat.boot_id != self._came:
            self._came = beat.boot_id
            self.listener.recognizer_came()

    def attempt(self, digest: str, *, renew: bool, answered: Callable[[Reply], None]) -> None:
        """Begin a trial, or ask how it is going."""
        self._ask(RecognizerTry(bundle=digest, renew=renew), answered, DEADLINE_S)

    def adopt(self, digest: str) -> None:
        """It reads with the active model. Where that can't be told now, it is when it comes."""
        self._tell(RecognizerAdopt(bundle=digest))

    def drop(self) -> None:
        """It reads with the active model again. A trial that nobody asks after ends by itself, too."""
        self._tell(RecognizerDrop())

    def _tell(self, command: Command) -> None:
        if self.present:
            self._ask(command, lambda reply: _told(command, reply), DEADLINE_S)


def _told(command: Command, reply: Reply) -> None:
    if reply.error is not None and reply.error.code != "fixed":
        log.warning("%s: %s", command.verb, reply.error.message)
