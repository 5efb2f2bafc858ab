"""What the car says of itself on MQTT: `status`, `info`, `metrics`, and the last will."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from messages.health import ServiceState
from services.bridge import documents
from services.bridge.car_health import CarHealth
from services.bridge.documents import CarState, CarStatus
from services.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.bridge.status_publisher import StatusPublisher

METRICS_S = 10.0
FIRST_METRICS_S = 2.0
"""After the connection: every service has said something by then."""


class StatusReporter:
    """Speaks while there is a session. `bridge` is the ULID of this bridge process."""

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
        self._status_publisher = publisher
        self._clock = clock
        self._began = datetime.now(UTC)
        self._up = False
        self._last: CarStatus | None = None
        self._metrics_due = 0.0

    def will(self, session_id: str) -> bytes:
        """What the broker is to say in the car's place."""
        why = "the connection to the car broke"
        return CarStatus(state="lost", session=session_id, bridge=self._bridge, reason=why).encoded()

    def last_words(self) -> bytes:
        """The status of a car that stops on purpose."""
        return self._status("stopped").encoded()

    def session_up(self, session_id: str, own: ServiceState, own_reason: str) -> int | None:
        """Say it all; returns the handle of the status."""
        self.session_id, self._up, self._last = session_id, True, None
        self._metrics_due = self._clock() + FIRST_METRICS_S
        handle = self.status(own, own_reason)
        about = documents.info(self._settings, session_id, self._began)
        self._status_publisher.publish(documents.INFO, about.encoded(), 1, retain=True)
        return handle

    def session_down(self) -> None:
        self._up = False

    def contradicted(self) -> None:
        """Something else stands as the car's status: it is said again."""
        self._last = None

    def status(self, own: ServiceState, own_reason: str) -> int | None:
        """Say how the car is where that has changed; returns the handle. `own`: how the bridge is."""
        if not self._up:
            return None
        status = self._status(*self._car_health.judge(own, own_reason))
        if status == self._last:
            return None
        self._last = status
        payload = status.model_copy(update={"since": datetime.now(UTC)}).encoded()
        return self._status_publisher.publish(documents.STATUS, payload, 1, retain=True)

    def metrics(self) -> None:
        """Say the figures where it is time."""
        if not self._up or self._clock() < self._metrics_due:
            return
        self._metrics_due = self._clock() + METRICS_S
        heartbeats = self._car_health.heartbeats
        figures = documents.metrics(self._settings.car.name, self.session_id, heartbeats)
        self._status_publisher.publish(documents.METRICS, figures.encoded(), 0)

    def _status(self, state: CarState, reason: str = "", services: dict[str, str] | None = None) -> CarStatus:
        return CarStatus(
            state=state,
            session=self.session_id,
            bridge=self._bridge,
            reason=reason,
            services=services or {},
        )
