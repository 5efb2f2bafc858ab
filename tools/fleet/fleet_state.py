"""What the cars on a broker have said. Whatever comes may be malformed, or of no car at all."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import BaseModel, ValidationError

from messages.health import Heartbeat
from messages.models import ModelProgress, ModelState
from services.bridge.documents import CarInfo, CarMetrics, CarStatus

MAX_CARS = 20_000
MAX_BYTES = 128 << 10
FIRST_WORD_S = 11.5
"""A car that is on says something every ten seconds (`metrics`)."""
MOST_HERTZ = 1000.0
"""No camera gives more frames a second: such a rate was computed from a sliver of time."""
SILENT_S = 25.0
"""One that was heard before is silent after two of them did not come."""

PATTERNS = (
    "smartcar/+/status",
    "smartcar/+/status/recognizer",
    "smartcar/+/info",
    "smartcar/+/state/model",
    "smartcar/+/event/model",
    "smartcar/+/metrics",
)
_TOPIC = re.compile(
    r"smartcar/([A-Za-z0-9][A-Za-z0-9_-]{0,47})/"
    r"(status|status/recognizer|info|state/model|event/model|metrics)",
    re.ASCII,
)
_AWAY = ("lost", "stopped")


@dataclass
class FleetCar:
    """One car, as far as it is known. `heard`: when it last said something while we listened."""

    name: str
    status: CarStatus | None = None
    info: CarInfo | None = None
    model: ModelState | None = None
    progress: ModelProgress | None = None
    """Its last step towards another model, of those we heard."""
    recognizer: Heartbeat | None = None
    metrics: CarMetrics | None = None
    metrics_at: float = -math.inf
    heard: float | None = None

    def state(self, now: float, listening_since: float) -> str:
        """What it said, or `silent`: it says that it is on, but nothing has come for too long."""
        if self.status is None:
            return "unknown"
        if self.status.state in _AWAY:
            return self.status.state
        silent = now - listening_since > FIRST_WORD_S if self.heard is None else now - self.heard > SILENT_S
        return "silent" if silent else self.status.state

    @property
    def away(self) -> bool:
        """It said goodbye, or the broker said so in its place; or it never said how it is."""
        return self.status is None or self.status.state in _AWAY

    @property
    def last_word(self) -> datetime | None:
        """The newest time in what it left with the broker: it lived then, by its own clock."""
        said = [self.status.since if self.status is not None and not self.away else None]
        said += [each.wall_time for each in (self.model, self.recognizer, self.metrics) if each is not None]
        moments = [each if each.tzinfo else each.replace(tzinfo=UTC) for each in said if each is not None]
        return max(moments, default=None)

    @property
    def reads_hertz(self) -> float | None:
        """Frames it reads a second, as its last `metrics` have it."""
        recognizer = self.metrics.services.get("recognizer") if self.metrics is not None else None
        rate = _sound(recognizer.rates.get("frames", 0.0)) if recognizer is not None else None
        return rate if rate is not None and rate <= MOST_HERTZ else None

    @property
    def temperature_c(self) -> float | None:
        """Of its processor, at its last `metrics`."""
        return _sound(self.metrics.temperature_c) if self.metrics is not None else None


@dataclass
class FleetState:
    """Give `take` what comes on PATTERNS. `clock` is CLOCK_MONOTONIC in seconds."""

    clock: Callable[[], float] = time.monotonic
    cars: dict[str, FleetCar] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    """What could not be read, by what it should have been."""
    listening_since: float = 0.0

    def __post_init__(self) -> None:
        self.listening_since = self.clock()

    def take(self, topic: str, payload: bytes, retained: bool) -> FleetCar | None:
        """Note a message; the car it is of, or None where it was ignored."""
        found = _TOPIC.fullmatch(topic)
        if found is None:
            self.ignored["topic"] += 1
            return None
        name, what = found.groups()
        if name not in self.cars and (len(self.cars) >= MAX_CARS or not payload):
            self.ignored["cars"] += bool(payload)
            return None
        document = _read(_DOCUMENTS[what], payload) if payload else None
        if payload and document is None:
            self.ignored[what] += 1
            return None
        car = self.cars.setdefault(name, FleetCar(name))
        if isinstance(document, CarStatus) and self._is_stale(car, document):
            return None
        setattr(car, _FIELDS[what], document)
        if what == "metrics":
            car.metrics_at = self.clock()
        if not (car.status is not None and car.status.state == "lost") and not retained and payload:
            car.heard = self.clock()
        if not payload and car.status is None and car.info is None and car.model is None:
            del self.cars[name]  # it was removed from the broker
            return None
        return car

    def unheard(self) -> list[FleetCar]:
        """Cars that left word that they are on, and have said nothing since we listen."""
        return [car for car in self.cars.values() if not car.away and car.heard is None]

    def half_known(self) -> bool:
        """Whether something was heard of a car that hasn't said yet how it is."""
        return any(car.status is None for car in self.cars.values())

    def just_lost(self, within_s: float) -> bool:
        """Whether a car that we heard has been gone for a short time: it may come back on another node."""
        now = self.clock()
        gone = (
            car for car in self.cars.values() if car.state(now, self.listening_since) in ("lost", "silent")
        )
        return any(car.heard is not None and now - car.heard < within_s for car in gone)

    def _is_stale(self, car: FleetCar, status: CarStatus) -> bool:
        """A will that comes late: the car has connected anew since (sessions sort by their time)."""
        known = max(each.session if each is not None else "" for each in (car.status, car.info))
        return status.state == "lost" and status.session < known


_FIELDS = {
    "status": "status",
    "status/recognizer": "recognizer",
    "info": "info",
    "state/model": "model",
    "event/model": "progress",
    "metrics": "metrics",
}
_DOCUMENTS: dict[str, type[BaseModel]] = {
    "status": CarStatus,
    "status/recognizer": Heartbeat,
    "info": CarInfo,
    "state/model": ModelState,
    "event/model": ModelProgress,
    "metrics": CarMetrics,
}


def _read(cls: type[BaseModel], payload: bytes) -> BaseModel | None:
    if len(payload) > MAX_BYTES:
        return None
    try:
        return cls.model_validate_json(payload)
    except ValidationError:
        return None


def _sound(figure: float | None) -> float | None:
    """A figure that can be reckoned with: JSON of others may hold NaN."""
    return figure if figure is not None and math.isfinite(figure) else None
