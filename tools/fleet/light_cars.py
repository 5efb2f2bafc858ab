"""Many cars in one thread, for a broker's sake: what a car says and hears on MQTT, and nothing behind it.

A light car connects, leaves its will, says its documents, follows offers, fetches an offer's chunks four at a
time, checks signature and hashes, tells each step and reads with the model after its trial. It has no journal
and no store; tools.fleet.simulated_cars has cars that do.
"""

from __future__ import annotations

import selectors
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from messages.message import Message, encode, new_boot_id, new_ulid
from messages.models import PERCENT, ModelProgress, ModelState, Step
from messages.offers import (
    ASK_TOPIC,
    Offer,
    StandingOffer,
    chunk_count,
    chunk_topic,
    offer_change,
    offer_topic,
    parse_offer,
)
from messages.vision import ModelInfo
from models.bundle.bundle import parse_manifest
from models.bundle.keys import PublicKey, verify_manifest
from models.bundle.payload import bundle_of, payload_size
from services.bridge import documents
from services.bridge.documents import CarMetrics, CarStatus, PartsWanted, ServiceMetrics, car_prefix
from services.bridge.paho_client import PahoClient
from services.catalogue import SERVICES
from services.config import Car, Models, Settings
from tools.fleet.simulated_fleet import SimulationSettings
from tools.publish.mqtt_client import MqttClient

AT_ONCE = 4
LACKS_S, LACKS_AGAIN_S = 3.0, 12.0
AGAIN_S = 2.0
_FACTORY = ModelInfo(name="digits", version="1.0.0", digest="0" * 64)


class LightCar:
    """One car. `tick` is called a few times a second, `serve` whenever its socket can be read."""

    def __init__(self, simulation: SimulationSettings, name: str) -> None:
        self._simulation = simulation
        self._settings = Settings(
            car=Car(name=name), mqtt=simulation.mqtt, models=Models(follow=simulation.follow)
        )
        self._prefix, self._session, self._boot_id = car_prefix(name), new_ulid(), new_boot_id()
        self._trusted = [PublicKey.parse(each) for each in simulation.trust]
        self._sequence = 0
        self._state = ModelState(active=_FACTORY, follows=simulation.follow)
        self._offer: Offer | None = None
        self._payload: dict[int, bytes] = {}
        self._wanted: list[int] = []
        self._lacks_at = self._active_at = float("inf")
        self._metrics_at = time.monotonic() + simulation.metrics_s * (hash(name) % 100) / 100
        self._again_at: float | None = 0.0
        self.client = self._new_client()

    @property
    def gone(self) -> bool:
        return self.client.socket() is None

    def connect(self) -> None:
        """Raises OSError."""
        mqtt = self._simulation.mqtt
        self._again_at = None
        self.client = self._new_client()
        self.client.connect(mqtt.host, mqtt.port, mqtt.keepalive)

    def connect_again(self, now: float) -> bool:
        """Where the connection has broken, after a while. Whether there is a new one."""
        if self._again_at is None:
            self._again_at = now + AGAIN_S
        if now < self._again_at:
            return False
        try:
            self.connect()
        except OSError:
            self._again_at = now + AGAIN_S
            return False
        return True

    def tick(self, now: float) -> None:
        self.client.loop_misc()
        if now >= self._active_at:
            self._active_at = float("inf")
            self._take()
        if now >= self._lacks_at and self._offer is not None:
            self._lacks_at = now + LACKS_AGAIN_S
            wanted = PartsWanted(
                name=self._offer.name, digest=self._offer.digest, chunks=tuple(self._wanted[:AT_ONCE])
            )
            self._say(documents.WANTED, wanted.encoded())
        if now >= self._metrics_at:
            self._metrics_at = now + self._simulation.metrics_s
            self._say(documents.METRICS, self._metrics().encoded(), qos=0)

    def leave(self) -> None:
        self._say(documents.STATUS, CarStatus(state="stopped", session=self._session).encoded(), retain=True)
        self.client.loop_write()
        self.client.disconnect()

    def _new_client(self) -> PahoClient:
        client = PahoClient(self._simulation.mqtt, f"smartcar-{self._settings.car.name}")
        will = CarStatus(state="lost", session=self._session, reason="the connection to the car broke")
        client.will_set(self._prefix + documents.STATUS, will.encoded(), 1, retain=True)
        client.on_connect = self._connected
        client.on_message = self._came
        return client

    def _connected(self, _: object, __: object, ___: object, code: Any, ____: object) -> None:
        if code.is_failure:
            return
        topics = [f"{self._prefix}status", f"{self._prefix}cmd/+/+", ASK_TOPIC]
        self.client.subscribe([(each, 1) for each in (*topics, *map(offer_topic, self._simulation.follow))])
        self._say_all()
        self._fetch(anew=True)

    def _say_all(self) -> None:
        status = CarStatus(state="ready", session=self._session, services=dict.fromkeys(SERVICES, "ready"))
        self._say(documents.STATUS, status.encoded(), retain=True)
        version = self._simulation.mqtt.protocol
        about = documents.info(self._settings, self._session, version, datetime.now(UTC))
        self._say(documents.INFO, about.encoded(), retain=True)
        self._say_state()

    def _came(self, _: object, __: object, message: Any) -> None:
        if message.topic == ASK_TOPIC:
            self._say_all()
        elif message.topic.endswith("/offer"):
            self._consider(parse_offer(message.payload) if message.payload else None)
        elif self._offer is not None and message.topic in map(self._chunk, self._wanted):
            number = int(message.topic.rpartition("/")[2])
            self.client.unsubscribe(message.topic)
            self._payload[number] = message.payload
            self._wanted.remove(number)
            self._fetch()

    def _consider(self, offer: Offer | None) -> None:
        known = (self._offer.digest if self._offer else "", self._state.active.digest)
        if offer is None or offer.digest in known:
            return
        if offer.cars is not None and self._settings.car.name not in offer.cars:
            return
        verify_manifest(offer.manifest, offer.signature, offer.name, self._trusted)
        manifest = parse_manifest(offer.manifest, "the offer")
        self._offer, self._payload = offer, {}
        self._wanted = list(range(chunk_count(payload_size(manifest), offer.chunk_bytes)))
        self._fetch(anew=True)

    def _chunk(self, number: int) -> str:
        assert self._offer is not None
        return chunk_topic(self._offer.name, self._offer.digest, number)

    def _fetch(self, *, anew: bool = False) -> None:
        """Ask for the next chunk, or `anew` for all that are wanted now."""
        if self._offer is None or self._active_at < float("inf"):
            return
        asked = self._wanted[:AT_ONCE] if anew else self._wanted[AT_ONCE - 1 : AT_ONCE]
        if asked:
            self.client.subscribe([(self._chunk(number), 1) for number in asked])
        if self._wanted:
            self._lacks_at = time.monotonic() + LACKS_S
            return
        self._lacks_at = float("inf")
        if self._payload:
            payload = b"".join(self._payload[number] for number in sorted(self._payload))
            self._payload = {}
            bundle_of(self._offer.manifest, self._offer.signature, payload, Path("the broker"))
            steps: tuple[Step, ...] = ("received", "checked", "tested", "trial")
            for step in steps:
                self._tell(step)
            self._active_at = time.monotonic() + self._simulation.trial_s

    def _take(self) -> None:
        assert self._offer is not None
        self._state = self._state.model_copy(
            update={
                "previous": self._state.active,
                "active": self._model(),
                "offers": (
                    StandingOffer(
                        name=self._offer.name,
                        version=self._model().version,
                        digest=self._offer.digest,
                        release=0,
                        percent=100,
                    ),
                ),
            }
        )
        self._tell("active")
        self._offer = None
        self._say_state()

    def _model(self) -> ModelInfo:
        assert self._offer is not None
        manifest = parse_manifest(self._offer.manifest, "the offer")
        return ModelInfo(name=manifest.name, version=manifest.version, digest=self._offer.digest)

    def _tell(self, step: Step) -> None:
        assert self._offer is not None
        progress = ModelProgress(
            change=offer_change(self._offer.digest),
            step=step,
            percent=PERCENT.get(step, 100),
            origin="offer",
            model=self._model(),
        )
        self._say("event/model", self._stamped(progress))

    def _say_state(self) -> None:
        self._say("state/model", self._stamped(self._state), retain=True)

    def _stamped(self, message: Message) -> bytes:
        self._sequence += 1
        return encode(message.stamped("updater", self._boot_id, self._sequence))

    def _say(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        self.client.publish(self._prefix + topic, payload, qos, retain)

    def _metrics(self) -> CarMetrics:
        service = ServiceMetrics(
            state="ready",
            uptime_s=600.0,
            memory_mb=40.0,
            processor_percent=3.0,
            restarts=0,
            rates={"frames": float(self._simulation.hertz)},
            counters={"frames": 18_000, "delivered": 12},
            latency_ms={"read.p50": 21.0, "read.p95": 30.0},
        )
        return CarMetrics(
            car=self._settings.car.name,
            session=self._session,
            wall_time=datetime.now(UTC),
            memory_mb=200.0,
            services=dict.fromkeys(SERVICES, service),
        )


def main() -> None:
    """Run the cars until standard input ends."""
    simulation = SimulationSettings.model_validate_json(sys.stdin.readline())
    with MqttClient.open([simulation.mqtt]) as client:  # which version of MQTT it is
        simulation = simulation.model_copy(update={"mqtt": client.mqtt})
    cars = [LightCar(simulation, name) for name in simulation.cars]
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        watched: dict[LightCar, Any] = {}
        ticked = 0.0
        while True:
            for key, _ in selector.select(0.05):
                if key.fileobj is sys.stdin:
                    for car in cars:
                        car.leave()
                    return
                key.data.client.loop_read()
            now = time.monotonic()
            for car in cars:
                if car.gone:
                    if (old := watched.pop(car, None)) is not None:
                        selector.unregister(old)
                    if car.connect_again(now):
                        watched[car] = car.client.socket()
                        selector.register(watched[car], selectors.EVENT_READ, car)
                elif car.client.want_write():
                    car.client.loop_write()
            if now - ticked > 0.25:
                ticked = now
                for car in watched:
                    car.tick(now)


if __name__ == "__main__":
    main()
