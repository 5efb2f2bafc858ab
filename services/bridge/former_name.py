"""A car that was renamed takes away what stands on the broker under its old name.

It remembers under which name and with which bridge process it was there last, and on which machine: a
copied card takes nothing from the car that it was copied from, nor from any other car that has the name now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from messages.durable import replace_file
from services.bridge import reason_codes
from services.bridge.documents import STATUS, CarStatus, car_prefix, retained_topics
from services.bridge.homeassistant import device_topic
from services.bridge.session import Session
from services.config import Settings

MOST_SESSIONS = 3
"""A broker may close the connection over topics that are not the car's any more."""

log = logging.getLogger(__name__)


class _Note(BaseModel):
    """What is remembered of the last time."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    bridge: str
    machine: str
    discovery: str = ""


class FormerName:
    """`file` remembers. `machine` tells this machine from one with a copy of its card."""

    def __init__(
        self,
        settings: Settings,
        bridge: str,
        machine: str,
        services: Iterable[str],
        file: Path,
        session: Session,
    ) -> None:
        self._file, self._session = file, session
        self._topics = retained_topics(services)
        self._now = _Note(
            name=settings.car.name, bridge=bridge, machine=machine, discovery=device_topic(settings)
        )
        self._before = self._read()
        self._sessions = 0
        self._waiting: set[int] = set()

    @property
    def status_topic(self) -> str:
        """Where the old name's status stands; empty where there is no old name to take away."""
        before = self._before
        if before is None or before.name == self._now.name or before.machine != self._now.machine:
            return ""
        return car_prefix(before.name) + STATUS

    def session_up(self) -> None:
        """The broker answers."""
        self._waiting.clear()
        if not self.status_topic or self._sessions >= MOST_SESSIONS:
            self._remember()
            return
        self._sessions += 1
        self._session.subscribe(self.status_topic)

    def status_came(self, payload: bytes) -> None:
        """What stands on `status_topic`."""
        topic, before = self.status_topic, self._before
        try:
            status = CarStatus.model_validate_json(payload)
        except ValidationError:
            return
        self._session.unsubscribe(topic)
        if before is None or status.bridge != before.bridge:
            self._remember()  # another car is called so
            return
        log.info("this car was called %s; what stands under that name is taken away", before.name)
        prefix = car_prefix(before.name)
        gone = [before.discovery, *(prefix + each for each in self._topics if each != STATUS), topic]
        for each in filter(None, gone):
            handle = self._session.publish(each, b"", 1, retain=True)
            if handle is not None:
                self._waiting.add(handle)

    def acknowledged(self, handle: int, code: int) -> None:
        """The broker has answered something."""
        if handle not in self._waiting:
            return
        self._waiting.discard(handle)
        if reason_codes.is_refusal(code):
            log.info("the broker keeps a topic of the old name (%s)", reason_codes.in_words(code))
        if not self._waiting:
            self._remember()

    def _read(self) -> _Note | None:
        try:
            return _Note.model_validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return None

    def _remember(self) -> None:
        if self._before == self._now:
            return
        self._before = self._now
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            replace_file(self._file, self._now.model_dump_json().encode())
        except OSError:
            pass  # a full disk: `smartcar mqtt forget --car` takes it away all the same
