"""What the car says of itself on MQTT: `status`, `info`, `metrics`, and the last will."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from messages.health import ServiceState
from services.bridge import documents
from services.bridge.car_health import CarHealth
from services.bridge.documents import CarState, CarStatus
from services.bridge.status_publisher import StatusPublisher
from services.config import Settings

METRICS_S = 10.0
FIRST_METRICS_S = 2.0
"""After the connection: every service has said something by then."""


class StatusReporter:
    """Publishes the car's documents whenever they change. `bridge` is the ULID of this bridge process."""

    def __init__(
        self,
        settings: Settings,
        bridge: str,
        car_health: CarHealth,
        publisher: StatusPublisher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session_id = ""
        """Of the session there is, or of the last."""
        self._settings = settings
        self._bridge = bridge
        self._car_health = car_health
        self._publisher = publisher
        self._clock = clock
        self._began = datetime.now(UTC)
        self._last: CarStatus | None = None
        self._metrics_due = float("inf")

    def will(self, session_id: str) -> bytes:
        """What the broker publishes in the car's place when the connection breaks."""
        why = "the connection to the car broke"
        return CarStatus(state="lost", session=session_id, bridge=self._bridge, reason=why).encoded()

    def last_words(self) -> bytes:
        """The status of a car that stops on purpose."""
        return self._status("stopped").encoded()

    def session_up(self, session_id: str, protocol: str, own: ServiceState, own_reason: str) -> None:
        """Publish the status first, then the rest."""
        self.session_id = session_id
        self._metrics_due = self._clock() + FIRST_METRICS_S
        self.report(own, own_reason)
        about = documents.info(self._settings, session_id, protocol, self._began)
        self._publisher.publish(documents.INFO, about.encoded(), retain=True)

    def say_metrics(self) -> None:
        """At once, and again after the usual time."""
        self._metrics_due = self._clock()

    def session_down(self) -> None:
        self._metrics_due = float("inf")

    def report(self, own: ServiceState, own_reason: str) -> None:
        """Publish how the car is, where that has changed. `own`, `own_reason`: how the bridge is."""
        status = self._status(*self._car_health.judge(own, own_reason))
        if status != self._last and self.session_id:
            self._last = status
            payload = status.model_copy(update={"since": datetime.now(UTC)}).encoded()
            self._publisher.publish(documents.STATUS, payload, retain=True)

    def report_metrics(self) -> None:
        """Publish the figures where it is time."""
        if self._clock() < self._metrics_due:
            return
        self._metrics_due = self._clock() + METRICS_S
        heartbeats = self._car_health.heartbeats
        figures = documents.metrics(self._settings.car.name, self.session_id, heartbeats)
        self._publisher.publish(documents.METRICS, figures.encoded(), 0)

    def _status(self, state: CarState, reason: str = "", services: dict[str, str] | None = None) -> CarStatus:
        return CarStatus(
            state=state,
            session=self.session_id,
            bridge=self._bridge,
            reason=reason,
            services=services or {},
        )
