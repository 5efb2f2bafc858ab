"""`smartcar bench pipeline`: the running car, from a file of decoded frames to an MQTT subscriber."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import zmq
from paho.mqtt.enums import CallbackAPIVersion

from messages.bus import Subscriber
from messages.message import decode
from messages.vision import ReadingEvent
from services.capture.scene import Scene
from services.table import SERVICES
from tools.bench.report import Figure, percentile, spread

READING_GOAL_MS = 8.0
EVENT_GOAL_MS = 15.0
MEMORY_GOAL_MB = 300.0
CPU_GOAL_PERCENT = 40.0
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(seconds: float = 30.0, hertz: float = 30.0, width: int = 640, height: int = 480) -> list[Figure]:
    """Run all services for `seconds`, page closed, on frames rendered beforehand."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/dev/shm") as folder:
        root = Path(folder)
        video = root / "frames.npy"
        _render(video, width, height)
        with _car(root, video, hertz) as (process, broker_port):
            return _observe(root / "run", process, broker_port, seconds)


def _render(path: Path, width: int, height: int, frames: int = 300) -> None:
    """A file of decoded frames, so that neither decoding nor rendering is measured."""
    scene = Scene(width, height, 0)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(frames, height, width, 3))
    for index in range(frames):
        array[index] = scene.frame(index)
    array.flush()


@contextmanager
def _car(root: Path, video: Path, hertz: float) -> Iterator[tuple[subprocess.Popen[str], int]]:
    environment = os.environ | {
        "SMARTCAR_PATHS__RUNTIME": str(root / "run"),
        "SMARTCAR_PATHS__STATE": str(root / "state"),
        "SMARTCAR_CAPTURE__HERTZ": str(hertz),
        "SMARTCAR_CAR__NAME": "bench",
    }
    port = _free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tools.cli",
            "up",
            "--source",
            str(video),
            "--port",
            "0",
            "--broker-port",
            str(port),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def _observe(runtime: Path, up: subprocess.Popen[str], port: int, seconds: float) -> list[Figure]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = Subscriber(context, runtime, ["reading", "health"], SERVICES)
    events = _EventLatencies(port)
    poller = zmq.Poller()
    poller.register(subscriber.state_socket, zmq.POLLIN)
    latencies: list[float] = []
    with_codes = 0
    ready: set[str] = set()
    deadline = time.monotonic() + 60
    while len(ready) < len(SERVICES):
        if time.monotonic() > deadline or up.poll() is not None:
            raise RuntimeError(f"the car is not ready; only {', '.join(sorted(ready)) or 'nothing'} is")
        poller.poll(200)
        for row, message in subscriber.receive():
            if row.name == "health" and message.state == "ready":
                ready.add(message.source)
    events.connect()
    time.sleep(3)
    subscriber.receive()
    processes = _descendants(up.pid)
    started, cpu_before = time.monotonic(), _cpu_seconds(processes)
    while time.monotonic() - started < seconds:
        poller.poll(200)
        for row, message in subscriber.receive():
            if row.name == "reading":
                with_codes += any(len(code.text) == 5 for code in message.codes)
                latencies.append(message.latency_ms)
    elapsed_s = time.monotonic() - started
    cpu = {name: spent - cpu_before.get(name, 0.0) for name, spent in _cpu_seconds(processes).items()}
    memory = {name: _pss_mb(pid) for name, pid in processes.items()}
    context.destroy(linger=0)
    event_latencies = events.close()
    services = {name for name in processes if name not in ("up", "broker")}
    return [
        Figure("readings a second", len(latencies) / elapsed_s, "1/s"),
        Figure("readings with five digits", 100 * with_codes / max(1, len(latencies)), "%"),
        *spread("capture to reading", latencies, "ms", READING_GOAL_MS),
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
        self._client.subscribe("smartcar/bench/event/reading", qos=1)
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


def _descendants(root: int) -> dict[str, int]:
    """All processes below `root`, by what they do."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = {"up": root}
    queue = [root]
    while queue:
        parent = queue.pop()
        for pid in [child for child, its in parents.items() if its == parent]:
            queue.append(pid)
            found[_what(pid)] = pid
    return found


def _what(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    for name in SERVICES:
        if name in words:
            return name
    return "capture reader" if "services.capture.reader" in words else "broker"


def _cpu_seconds(processes: dict[str, int]) -> dict[str, float]:
    spent = {}
    for name, pid in processes.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent[name] = (int(fields[11]) + int(fields[12])) / _TICKS
    return spent


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
