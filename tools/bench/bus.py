"""`smartcar bench bus`: from `publish` in one process to a usable array in others."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zmq

from messages.bus import Publisher, Subscriber, socket_path
from messages.ring import FrameGone, RingReader, RingWriter
from messages.vision import FrameReady
from services.capture.source import Pace
from services.catalogue import SERVICES
from tools.bench.report import Figure, spread
from tools.terminal.output import print_json, say

LATENCY_GOAL_US = 600.0
CPU_GOAL_S = 0.9
WARM_UP_FRAMES = 15


def measure(
    frames: int = 600, readers: int = 2, hertz: float = 30.0, width: int = 640, height: int = 480
) -> list[Figure]:
    """Publish `frames` at `hertz` to `readers` processes through ring and bus, as capture does."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/dev/shm") as folder:
        runtime = Path(folder)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        publisher = Publisher(context, runtime, "capture")
        writer = RingWriter(socket_path(runtime, "capture", "ring"), (height, width))
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "tools.bench.bus", folder, str(frames + WARM_UP_FRAMES)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(readers)
        ]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()  # it has subscribed
        publisher.answer_subscriptions()
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        pace = Pace(1 / hertz)
        before = resource.getrusage(resource.RUSAGE_SELF)
        for number in range(frames + WARM_UP_FRAMES):
            pace.wait()
            started_ns = time.monotonic_ns()
            reference = writer.write(pixels)
            if reference is not None:
                publisher.publish(
                    "frame",
                    FrameReady(
                        frame_id=number,
                        captured_ns=started_ns,
                        view="bench",
                        ring=reference.ring,
                        slot=reference.slot,
                        generation=reference.generation,
                        height=height,
                        width=width,
                    ),
                )
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        latencies: list[float] = []
        lost = 0
        for child in children:
            result = json.loads(child.communicate(timeout=30)[0].splitlines()[-1])
            latencies += result["latencies_us"]
            cpu_s += result["cpu_s"]
            lost += frames - len(result["latencies_us"])
        writer.close()
        publisher.close()
        context.destroy(linger=0)
    return [
        *spread(f"{width}×{height}, publish to array in {readers} readers", latencies, "µs", LATENCY_GOAL_US),
        Figure("frames that a reader did not see", lost, ""),
        Figure(
            "processor time per 1,000 frames, all processes",
            cpu_s / (frames + WARM_UP_FRAMES) * 1000,
            "s",
            CPU_GOAL_S,
        ),
    ]


def _read(runtime: Path, frames: int) -> None:
    """A reader: receive, map, touch; report latencies and its own processor time."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = Subscriber(context, runtime, ["frame"], SERVICES)
    ring = RingReader(socket_path(runtime, "capture", "ring"))
    poller = zmq.Poller()
    poller.register(subscriber.state_socket, zmq.POLLIN)
    time.sleep(0.3)  # the subscription travels
    say("subscribed")
    latencies: list[float] = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    newest = -1
    while newest < frames - 1 and poller.poll(3000):
        for _, frame in subscriber.receive():
            newest = frame.frame_id
            try:
                with ring.frame(frame) as pixels:
                    elapsed_us = (time.monotonic_ns() - frame.captured_ns) / 1000
                    _ = int(pixels[-1, -1, -1])
            except FrameGone:
                continue
            if frame.frame_id >= WARM_UP_FRAMES:
                latencies.append(elapsed_us)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print_json({"latencies_us": latencies, "cpu_s": cpu_s})


if __name__ == "__main__":
    _read(Path(sys.argv[1]), int(sys.argv[2]))
