"""`smartcar bench fleet`: a model published to many cars on one Mosquitto, and what that asks of the broker.

The cars are simulated (tools.fleet.simulated_cars): their bridges, updaters and sessions are real, and so
is every byte on MQTT. They share this machine's processor with the broker, which real cars don't.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.manifest import MANIFEST_FILE, MODEL_FILE
from models.store_reader import FACTORY_FOLDER
from services.config import Models, Mqtt
from tools.bench.mosquitto import RunningBroker, mosquitto, processor_s
from tools.bench.report import Figure, percentile
from tools.fleet.fleet_state import PATTERNS, FleetState
from tools.fleet.simulated_fleet import SimulatedFleet, SimulationSettings, numbered, simulated_fleet
from tools.publish.mqtt_client import MqttClient, Received
from tools.publish.publication import Publication, look
from tools.publish.signing import release_of
from tools.terminal.problems import Problem

NAME = "bench"
READY_WITHIN_S = 300.0
TAKEN_WITHIN_S = 600.0
AT_REST_S = 20.0
"""Two of each car's `metrics`."""
COUNTED_S = 2.5
"""The broker's own figures are of the last second."""
_COUNTERS = ("$SYS/broker/bytes/sent", "$SYS/broker/bytes/received")


def measure(
    sizes: Sequence[int] = (10, 50, 200),
    megabytes: float = 1.0,
    rest_s: float = AT_REST_S,
    *,
    light: bool = False,
    broker: RunningBroker | None = None,
) -> list[Figure]:
    """Publish a bundle of `megabytes` to fleets of these sizes, one after the other. Raises Problem.

    Before that each fleet is left alone for `rest_s` seconds. `light`: by cars that have nothing but their
    MQTT. `broker`: one that runs already, in place of a Mosquitto.
    """
    figures: list[Figure] = []
    for size in sizes:
        place = nullcontext(broker) if broker is not None else mosquitto()
        with tempfile.TemporaryDirectory(prefix="sc-", dir="/dev/shm") as folder, place as there:
            figures += _Bench(size, Path(folder), there, light=light).figures(megabytes, rest_s)
    return figures


def sizes_of(text: str) -> list[int]:
    """The numbers in `10,50,200`. Raises Problem."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise Problem(f"{text!r} are no numbers of cars; give them such as 10,50,200.")
    return sizes


@dataclass(frozen=True)
class _Used:
    """Until a moment: bytes on the broker's sockets, processor time of broker and cars."""

    sent: int
    received: int
    broker_s: float
    cars_s: float
    at: float


@dataclass
class _Times:
    """When each car had all of it, and when it read with it."""

    whole: dict[str, float] = field(default_factory=dict)
    active: dict[str, float] = field(default_factory=dict)


class _Bench:
    """One fleet."""

    def __init__(self, size: int, root: Path, broker: RunningBroker, *, light: bool) -> None:
        self._size, self._root, self._broker, self._light = size, root, broker, light
        self._mqtt = Mqtt(host="127.0.0.1", port=broker.port)
        self._key = SigningKey.generate()
        self._fleet = FleetState()
        self._bytes = dict.fromkeys(_COUNTERS, 0)
        self._times = _Times()
        self._digest = ""

    def figures(self, megabytes: float, rest_s: float) -> list[Figure]:
        settings = SimulationSettings(
            cars=numbered(self._size),
            root=str(self._root),
            mqtt=self._mqtt,
            follow=(NAME,),
            trust=(self._key.public.text,),
            trial_s=Models().trial_seconds,
        )
        bundle = release_of(_of_size(megabytes), self._key, release=1)
        publication = Publication(bundle, heard=self._hear)
        self._digest = publication.digest
        with MqttClient.open([self._mqtt]) as client:
            shelf = look(client, NAME, (*PATTERNS, *_COUNTERS), self._hear)
            hear = lambda: publication.hear(client, shelf, 0.05)  # noqa: E731
            started = time.monotonic()
            with simulated_fleet(settings, light=self._light) as cars:
                self._until(hear, self._all_ready, READY_WITHIN_S, "are ready")
                ready_s = time.monotonic() - started
                rest = self._used(hear, cars)
                self._until(hear, lambda: time.monotonic() - rest.at > rest_s, rest_s + 5, "")
                before = self._used(hear, cars)
                began = time.monotonic()
                publication.put(client, shelf)
                deadline = began + TAKEN_WITHIN_S
                done = lambda: len(self._times.active) == self._size or time.monotonic() > deadline  # noqa: E731
                self._until(hear, done, TAKEN_WITHIN_S + 60, "have taken it")
                after = self._used(hear, cars)
                return self._results(bundle.size, ready_s, began, rest, before, after)

    def _hear(self, came: Received) -> None:
        if came.topic in self._bytes:
            self._bytes[came.topic] = int(came.payload)
            return
        car = self._fleet.take(came.topic, came.payload, came.retained)
        if car is None or not self._digest:
            return
        now, progress = time.monotonic(), car.progress
        if progress is not None and progress.step == "received" and progress.origin == "offer":
            self._times.whole.setdefault(car.name, now)
        if car.model is not None and car.model.active.digest == self._digest:
            self._times.active.setdefault(car.name, now)

    def _all_ready(self) -> bool:
        cars = self._fleet.cars.values()
        return sum(car.status is not None and car.status.state == "ready" for car in cars) == self._size

    def _until(self, hear: Callable[[], None], fits: Callable[[], bool], within_s: float, what: str) -> None:
        deadline = time.monotonic() + within_s
        while not fits():
            hear()
            if time.monotonic() > deadline:
                ready, taken = len(self._fleet.cars), len(self._times.active)
                raise Problem(
                    f"Not all of {self._size} cars {what} within {within_s:g} s ({ready} known, {taken} with "
                    f"the model); this machine may be too small for so many: give fewer with --cars."
                )

    def _used(self, hear: Callable[[], None], cars: SimulatedFleet) -> _Used:
        at = time.monotonic()
        broker_s = self._broker.processor_s
        cars_s = sum(processor_s(pid) for pid in cars.pids)
        self._until(hear, lambda: time.monotonic() - at > COUNTED_S, COUNTED_S + 5, "")
        sent, received = (self._bytes[counter] for counter in _COUNTERS)
        return _Used(sent, received, broker_s, cars_s, at)

    def _results(
        self, size: int, ready_s: float, began: float, rest: _Used, before: _Used, after: _Used
    ) -> list[Figure]:
        whole = [moment - began for moment in self._times.whole.values()]
        active = [moment - began for moment in self._times.active.values()]
        rest_s = before.at - rest.at
        rest_rate = (before.received - rest.received) / rest_s / self._size
        rest_percent = 100 * (before.broker_s - rest.broker_s) / rest_s
        cars = f"{self._size} cars"
        return [
            Figure(f"{cars}: bundle", size / 1e6, "MB"),
            Figure(f"{cars}: lost, without it after {TAKEN_WITHIN_S:g} s", self._size - len(active), ""),
            Figure(f"{cars}: started and connected", ready_s, "s"),
            Figure(f"{cars}: at rest, into the broker, a car", rest_rate, "B/s"),
            Figure(f"{cars}: at rest, processor of the broker", rest_percent, "%"),
            Figure(f"{cars}: a car has it whole, p50", percentile(whole, 0.5), "s"),
            Figure(f"{cars}: a car has it whole, p95", percentile(whole, 0.95), "s"),
            Figure(f"{cars}: all have it whole", max(whole), "s"),
            Figure(f"{cars}: a car reads with it, p50", percentile(active, 0.5), "s"),
            Figure(f"{cars}: a car reads with it, p95", percentile(active, 0.95), "s"),
            Figure(f"{cars}: all read with it", max(active), "s"),
            Figure(f"{cars}: out of the broker", (after.sent - before.sent) / 1e6, "MB"),
            Figure(f"{cars}: out of the broker, a car", (after.sent - before.sent) / 1e6 / self._size, "MB"),
            Figure(f"{cars}: into the broker", (after.received - before.received) / 1e6, "MB"),
            Figure(f"{cars}: memory of the broker, peak", self._broker.peak_mb, "MB"),
            Figure(f"{cars}: processor time of the broker", after.broker_s - before.broker_s, "s"),
            Figure(f"{cars}: processor time of all cars", after.cars_s - before.cars_s, "s"),
        ]  # fmt: skip


def _of_size(megabytes: float) -> Bundle:
    """The shipped model with as many bytes behind it as are missing."""
    bundle = Bundle.load(FACTORY_FOLDER)
    missing = int(megabytes * 1e6) - bundle.size
    if missing <= 0:
        return _called(bundle, bundle.model)
    return _called(bundle, bundle.model + random.Random(0).randbytes(missing))


def _called(bundle: Bundle, model: bytes) -> Bundle:
    manifest = json.loads(bundle.raw_manifest)
    manifest["name"] = NAME
    entry = next(each for each in manifest["files"] if each["name"] == MODEL_FILE)
    entry.update(size=len(model), sha256=sha256(model).hexdigest())
    files = bundle.files() | {MANIFEST_FILE: json.dumps(manifest).encode(), MODEL_FILE: model}
    return replace(Bundle.from_files(files, bundle.folder), signature=None)
