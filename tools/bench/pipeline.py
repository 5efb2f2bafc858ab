"""`smartcar bench pipeline`: the running car, from a file of decoded frames to an MQTT subscriber."""

from __future__ import annotations

import threading
import time

import paho.mqtt.client as mqtt
import zmq
from paho.mqtt.enums import CallbackAPIVersion

from messages.bus import Subscriber
from messages.message import decode
from messages.vision import ReadingEvent
from tools.bench.car import NAME, BenchCar, running_car
from tools.bench.processes import cpu_seconds, descendants, pss_mb
from tools.bench.report import Figure, percentile, spread

READING_GOAL_MS = 8.0
EVENT_GOAL_MS = 15.0
MEMORY_GOAL_MB = 300.0
CPU_GOAL_PERCENT = 40.0


def measure(seconds: float = 30.0, hertz: float = 30.0, width: int = 640, height: int = 480) -> list[Figure]:
    """Run all services for `seconds`, page closed, on frames rendered beforehand."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with running_car(hertz, width, height) as car:
            car.wait_until_ready(context)
            return _observe(context, car, seconds)
    finally:
        context.destroy(linger=0)


def _observe(context: zmq.Context[zmq.Socket[bytes]], car: BenchCar, seconds: float) -> list[Figure]:
    subscriber = Subscriber(context, car.runtime, ["reading"], ["recognizer"])
    events = _EventLatencies(car.broker_port)
    latencies: list[float] = []
    readings = 0
    events.connect()
    time.sleep(3)
    subscriber.receive()
    processes = descendants(car.process.pid)
    started, cpu_before = time.monotonic(), cpu_seconds(processes)
    while time.monotonic() - started < seconds:
        subscriber.state_socket.poll(200)
        for _, reading in subscriber.receive():
            readings += 1
            if [len(code.text) for code in reading.codes] == [5]:
                latencies.append(reading.latency_ms)
    elapsed_s = time.monotonic() - started
    cpu = {name: spent - cpu_before.get(name, 0.0) for name, spent in cpu_seconds(processes).items()}
    memory = {name: pss_mb(pid) for name, pid in processes.items()}
    event_latencies = events.close()
    services = {name for name in processes if name not in ("up", "broker")}
    return [
        Figure("readings a second", readings / elapsed_s, "1/s"),
        Figure("readings of five digits", 100 * len(latencies) / max(1, readings), "%"),
        *spread("capture to reading of five digits", latencies, "ms", READING_GOAL_MS),
        Figure("events", len(event_latencies), ""),
        Figure("capture to MQTT subscriber, p50", percentile(event_latencies, 0.5), "ms", EVENT_GOAL_MS),
        Figure("capture to MQTT subscriber, p95", percentile(event_latencies, 0.95), "ms"),
        Figure("memory of all services (PSS)", sum(memory[name] for name in services), "MB", MEMORY_GOAL_MB),
        *(Figure(f"  {name}", memory[name], "MB") for name in sorted(memory)),
        Figure(
            "processor, all services",
            100 * sum(cpu[name] for name in services) / elapsed_s,
            "% of a core",
            CPU_GOAL_PERCENT,
        ),
        *(Figure(f"  {name}", 100 * cpu[name] / elapsed_s, "% of a core") for name in sorted(cpu)),
    ]


class _EventLatencies:
    """An MQTT subscriber that times events against the capture of their deciding frame."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._latencies: list[float] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._subscribed = threading.Event()
        self._client.on_message = self._take
        self._client.on_subscribe = lambda *_: self._subscribed.set()

    def connect(self) -> None:
        self._client.connect("127.0.0.1", self._port)
        self._client.subscribe(f"smartcar/{NAME}/event/reading", qos=1)
        self._client.loop_start()
        self._subscribed.wait(5)

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        now_ns = time.monotonic_ns()
        event = decode(ReadingEvent, bytes(message.payload))
        if event.phase == "new":
            self._latencies.append(event.latency_ms + (now_ns - event.monotonic_ns) / 1e6)

    def close(self) -> list[float]:
        self._client.disconnect()
        self._client.loop_stop()
        return self._latencies
