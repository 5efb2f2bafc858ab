"""`smartcar bench boot`: from nothing to a reading and to an event at the broker; back after SIGKILL."""

from __future__ import annotations

import os
import secrets
import signal
import statistics
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import zmq
from paho.mqtt.client import MQTTMessage

from messages.bus import Subscriber, socket_path
from messages.health import Heartbeat
from messages.message import MalformedMessage, decode
from messages.vision import ReadingEvent
from services import board
from services.bridge.connection import BrokerLimits, Connection
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.documents import car_prefix
from services.catalogue import SERVICES
from services.config import Mqtt
from services.config_file import load
from tools.bench.car import NAME, running_car
from tools.bench.processes import began_s
from tools.bench.report import Figure
from tools.doctor.broker import account, in_force
from tools.doctor.context import CheckContext
from tools.doctor.units import TARGET, unit_of
from tools.observe.snapshot import WELL
from tools.terminal.problems import Problem

BACK_GOAL_S, BACK_GOAL_ON_A_PI_S = 2.0, 5.0
PATIENCE_S = 60.0
EVENT_PATIENCE_S = 20.0
_LOOK_S = 0.002

Context = zmq.Context[zmq.Socket[bytes]]
Value = TypeVar("Value")


@dataclass(frozen=True)
class _Start:
    """A car that has just been told to start, at `began_s` of time.monotonic()."""

    name: str
    runtime: Path
    mqtt: Mqtt | None
    began_s: float


def measure(rounds: int = 3, *, installed: bool = False) -> list[Figure]:
    """Start the car `rounds` times, and each time kill every service once.

    Without `installed` a car of its own under `smartcar up`; with it the systemd services of this machine,
    which look at what is before their camera. Raises Problem.
    """
    samples: dict[str, list[float]] = defaultdict(list)
    context: Context = zmq.Context()
    try:
        for _ in range(rounds):
            with _installed_car() if installed else _own_car() as start:
                _one_round(context, start, samples)
    finally:
        context.destroy(linger=0)
    return _figures(samples)


def _one_round(context: Context, start: _Start, samples: dict[str, list[float]]) -> None:
    event = _FirstEvent(start) if start.mqtt is not None else None
    try:
        recognizer = _wait_for_process(start.runtime, "recognizer", 0)
        first = _first_reading(context, start.runtime)
        samples["car to first reading"].append(first - start.began_s)
        samples["recognizer's process to first reading"].append(first - began_s(recognizer))
        beats = {name: _wait_ready(context, start.runtime, name) for name in SERVICES}
        samples["car to all services ready"].append(
            max(beat.monotonic_ns for beat in beats.values()) / 1e9 - start.began_s
        )
        if event is not None and (came := event.wait()) is not None:
            samples["car to first event at the broker"].append(came - start.began_s)
            samples["bridge's process to first event at the broker"].append(
                came - began_s(beats["bridge"].pid)
            )
    finally:
        if event is not None:
            event.close()
    for name in SERVICES:
        beat = _settled(context, start.runtime, name)
        samples[f"memory, {name}"].append(beat.memory_mb)
        killed_s = time.monotonic()
        try:
            os.kill(beat.pid, signal.SIGKILL)
        except PermissionError:
            raise Problem(f"{name} belongs to another user: run it with sudo.") from None
        _wait_for_process(start.runtime, name, beat.pid)
        back = _wait_ready(context, start.runtime, name, beat.pid)
        samples[f"back, {name}"].append(back.monotonic_ns / 1e9 - killed_s)


def _figures(samples: dict[str, list[float]]) -> list[Figure]:
    on_a_pi = (board.read().model or "").startswith("Raspberry Pi")
    back_goal_s = BACK_GOAL_ON_A_PI_S if on_a_pi else BACK_GOAL_S
    memory = {name: statistics.median(samples[f"memory, {name}"]) for name in SERVICES}
    back = {name: samples[f"back, {name}"] for name in SERVICES}
    starts = [name for name in samples if not name.startswith(("memory, ", "back, "))]
    return [
        *(Figure(f"{name}, median", statistics.median(samples[name]), "s") for name in starts),
        Figure("memory of all services (PSS)", sum(memory.values()), "MB"),
        *(Figure(f"  {name}", value, "MB") for name, value in memory.items()),
        *(
            Figure(f"ready again after SIGKILL, {name}, longest", max(back[name]), "s", back_goal_s)
            for name in SERVICES
        ),
    ]


# the cars


@contextmanager
def _own_car() -> Iterator[_Start]:
    with running_car(30.0, always_in_view=True) as car:
        mqtt = Mqtt(host="127.0.0.1", port=car.broker_port, protocol="3.1.1")
        yield _Start(NAME, car.runtime, mqtt, car.began_s)


def _installed_car() -> AbstractContextManager[_Start]:
    if os.geteuid() != 0:
        raise Problem("Only root may stop and start the services: `sudo smartcar bench boot --installed`.")
    settings = load()
    car = CheckContext.find()
    if not car.installed:
        raise Problem("smartcar is not installed as systemd services here; leave --installed out.")
    mqtt = in_force(car)

    @contextmanager
    def started() -> Iterator[_Start]:
        _systemctl("stop", TARGET, *map(unit_of, SERVICES))  # naming them waits for each
        began = time.monotonic()
        _systemctl("start", "--no-block", TARGET)
        yield _Start(
            settings.car.name, settings.paths.runtime, account(car, mqtt) if mqtt is not None else None, began
        )

    return started()


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"systemctl {' '.join(words)}: {done.stderr.strip()}.")


# what happens


def _wait_for_process(runtime: Path, service: str, other_than: int) -> int:
    """The process id of the service once it has its lock, and it is another one."""

    def look() -> int | None:
        try:
            pid = int(socket_path(runtime, service, "lock").read_text())
        except (OSError, ValueError):
            return None
        sockets = socket_path(runtime, service, "state").exists()
        return pid if sockets and pid != other_than and Path(f"/proc/{pid}").exists() else None

    return _wait(look, f"{service} does not start")


def _first_reading(context: Context, runtime: Path) -> float:
    """When the first reading was published."""
    subscriber = Subscriber(context, runtime, ["reading"], ["recognizer"])  # just bound: it connects at once

    def look() -> float | None:
        return next((each.monotonic_ns / 1e9 for _, each in subscriber.receive()), None)

    try:
        return _wait(look, "nothing is read; see smartcar doctor camera")
    finally:
        subscriber.close()


def _wait_ready(context: Context, runtime: Path, service: str, other_than: int = 0) -> Heartbeat:
    """The first heartbeat heard in which the service is well, as another process."""
    return _beat(
        context,
        runtime,
        service,
        lambda beat: beat.pid != other_than and beat.state in WELL,
        f"{service} does not become ready; see smartcar status",
    )


def _settled(context: Context, runtime: Path, service: str) -> Heartbeat:
    return _beat(
        context, runtime, service, lambda beat: beat.memory_mb > 0, f"{service} does not tell its memory"
    )


def _beat(
    context: Context, runtime: Path, service: str, wanted: Callable[[Heartbeat], bool], otherwise: str
) -> Heartbeat:
    subscriber = Subscriber(context, runtime, ["health"], [service])

    def look() -> Heartbeat | None:
        return next((each for _, each in subscriber.receive() if wanted(each)), None)

    try:
        return _wait(look, otherwise)
    finally:
        subscriber.close()


def _wait(condition: Callable[[], Value | None], otherwise: str) -> Value:
    deadline = time.monotonic() + PATIENCE_S
    while (value := condition()) is None:
        if time.monotonic() > deadline:
            raise Problem(otherwise)
        time.sleep(_LOOK_S)
    return value


class _FirstEvent:
    """Hears on MQTT when the first code is reported; connects again and again until the broker is there."""

    def __init__(self, start: _Start) -> None:
        assert start.mqtt is not None
        self._mqtt = start.mqtt
        self._prefix = car_prefix(start.name)
        self._came: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="first event", daemon=True)
        self._thread.start()

    def wait(self) -> float | None:
        """When it came; None where nothing did."""
        self._thread.join(EVENT_PATIENCE_S)
        return self._came

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._over.is_set() and self._came is None:
            self._connected = True
            self._connection = Connection(
                self._mqtt,
                f"{NAME}-{secrets.token_hex(3)}",
                will=(f"{self._prefix}{NAME}", b""),  # an empty one leaves nothing behind
                wake=lambda: None,
            )
            while self._connected and self._came is None and not self._over.is_set():
                if not self._connection.tell_next(self):
                    time.sleep(_LOOK_S)
            self._connection.leave()

    # from the connection

    def connected(self, _: BrokerLimits) -> None:
        self._connection.subscribe(f"{self._prefix}event/reading")

    def message_came(self, message: MQTTMessage) -> None:
        if self._is_new(bytes(message.payload)):
            self._came = time.monotonic()

    def ended(self, _: ConnectionProblem) -> None:
        self._connected = False
        self._over.wait(0.02)

    def acknowledged(self, handle: int, code: int) -> None:
        """Nothing is published here."""

    def subscription_answered(self, pattern: str, code: int) -> None:
        """A broker that refuses sends no event."""

    def _is_new(self, payload: bytes) -> bool:
        try:
            return decode(ReadingEvent, payload).phase == "new"
        except MalformedMessage:
            return False
