"""Announces the car to Home Assistant, where the broker allows it."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

from messages.models import ModelState
from services import board
from services.bridge import reason_codes
from services.bridge.documents import is_topic
from services.bridge.homeassistant import birth_topic, device, device_topic
from services.bridge.homeassistant_entities import on_offer
from services.bridge.session import Publish
from services.config import Settings

BIRTH = b"online"
SPREAD_S = 3.0
"""Not all cars of a broker at once."""
SUSPECT_S = 2.0
"""A session that ends sooner after the announcement may have ended over it."""
STRIKES = 2
REFUSED_S = 24 * 3600.0

log = logging.getLogger(__name__)


class Discovery:
    """Publishes the announcement in each session and when Home Assistant starts; withdraws an outdated one.

    Many brokers let a car publish below its own prefix alone. They refuse the announcement or close the
    connection over it; it is then tried again after a day, and the car is not `degraded`. The file `kept`
    remembers the topic of the announcement.
    """

    def __init__(
        self, settings: Settings, publish: Publish, kept: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.note = ""
        """For people: whether the car is announced, and if not, why."""
        self._settings = settings
        self._publish = publish
        self._kept = kept
        self._clock = clock
        self._topic = device_topic(settings)
        self._models: ModelState | None = None
        self._up = False
        self._standing = b""
        """What the broker has acknowledged, or is about to."""
        self._handle: int | None = None
        self._taken_back: int | None = None
        self._said_at: float | None = None
        self._due: float | None = None
        self._strikes = 0
        self._refused_until = float("-inf")

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says that it has started; empty where nobody is to be told."""
        return birth_topic(self._settings) if self._topic else ""

    def session_up(self) -> None:
        """The broker has answered on a new session: it may have forgotten everything."""
        self._up = True
        self._standing = b""
        self._take_back()
        self._announce()

    def session_down(self) -> None:
        if self._said_at is not None and self._clock() - self._said_at < SUSPECT_S:
            self._strikes += 1
            if self._strikes >= STRIKES:
                self._refused("the broker closes the connection over it", reason_codes.NOT_AUTHORISED)
        self._up = False
        self._handle = self._taken_back = self._said_at = self._due = None

    def acknowledged(self, handle: int, code: int) -> None:
        """The broker has answered something."""
        if handle == self._handle:
            self._handle = None
            if reason_codes.is_refusal(code):
                self._said_at = None
                self._refused(f"the broker refuses it ({reason_codes.in_words(code)})", code)
            else:
                self.note = "told of this car"
                self._remember()
        elif handle == self._taken_back:
            self._taken_back = None
            if not reason_codes.is_refusal(code) and not self._topic:
                self._forget()

    def models(self, state: ModelState) -> None:
        """What is offered has perhaps changed."""
        before = on_offer(self._models) if self._models is not None else ""
        self._models = state
        if on_offer(state) != before:
            self._announce()

    def birth(self, payload: bytes, *, retained: bool) -> None:
        """Something came on `birth_topic`."""
        if payload == BIRTH and not retained and self._clock() >= self._refused_until:
            self._due = self._clock() + random.uniform(0, SPREAD_S)

    def tick(self) -> None:
        """Call a few times a second."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at >= SUSPECT_S:
            self._said_at, self._strikes = None, 0
        if self._due is not None and now >= self._due:
            self._due = None
            self._standing = b""
            self._announce()

    def _announce(self) -> None:
        if not self._topic or not self._up or self._clock() < self._refused_until:
            return
        announcement = device(self._settings, board.read(), self._models)
        payload = json.dumps(announcement, ensure_ascii=False, separators=(",", ":")).encode()
        if payload == self._standing:
            return
        self._handle = self._publish(self._topic, payload, 1, retain=True)
        if self._handle is not None:
            self._standing, self._said_at = payload, self._clock()

    def _refused(self, why: str, code: int) -> None:
        again_s = reason_codes.again_after_s(code) if reason_codes.is_passing(code) else REFUSED_S
        self._standing = b""
        self._refused_until = self._due = self._clock() + again_s
        remedy = reason_codes.remedy(code, f"publish {self._topic}")
        self.note = f'not told: {why}; {remedy}, or set mqtt.discovery = ""'
        log.info("Home Assistant is %s", self.note)

    def _take_back(self) -> None:
        """Where this car was announced under another setting, it isn't any more."""
        try:
            before = self._kept.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return
        ours = before.endswith(f"/device/smartcar-{self._settings.car.name}/config")
        if ours and before != self._topic and is_topic(before):
            self._taken_back = self._publish(before, b"", 1, retain=True)

    def _forget(self) -> None:
        try:
            self._kept.unlink(missing_ok=True)
        except OSError:
            pass  # a disk that takes nothing: it is taken back once more

    def _remember(self) -> None:
        try:
            if not self._kept.exists() or self._kept.read_bytes() != self._topic.encode():
                self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
                self._kept.write_text(self._topic, encoding="utf-8")
        except OSError:
            pass  # a full disk; `smartcar mqtt forget` takes it back all the same
