"""What this machine takes for four things that the car does: figures as multiples of them compare machines.

Each is the median of many, so that what else the machine does weighs little. All together take half a second.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ECHO = """
import sys, zmq
socket = zmq.Context().socket(zmq.PAIR)
socket.connect(sys.argv[1])
while True:
    socket.send(socket.recv())
"""
PATIENCE_MS = 10_000
MS_OF = {"µs": 0.001, "ms": 1.0, "s": 1000.0}
"""The units that a yardstick measures."""

COPY, BLUR, MODEL, ROUND_TRIP = "frame copied", "frame blurred", "model's pass", "ZeroMQ round trip"


def measure() -> dict[str, float]:
    """Milliseconds: a 640×480 frame copied and blurred, five digits named by the shipped model, a message
    of 200 bytes to another process and back."""
    import cv2
    import numpy as np

    import models
    from models.bundle.bundle import Bundle
    from models.bundle.digits import SIDE
    from models.inference.runtime import Classifier

    cv2.setNumThreads(1)
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    target = np.empty_like(frame)
    classifier = Classifier(Bundle.load(Path(models.__file__).parent / "factory"))
    crops = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), dtype=np.uint8)
    return {
        COPY: _median_ms(lambda: np.copyto(target, frame), 200),
        BLUR: _median_ms(lambda: cv2.GaussianBlur(frame, (5, 5), 0, dst=target), 100),
        MODEL: _median_ms(lambda: classifier.classify(crops), 100),
        ROUND_TRIP: _round_trip_ms(300),
    }


def multiple(value: float, unit: str, yardstick_ms: float) -> float | None:
    """How many times the yardstick a figure is; None for what is no time."""
    return value * MS_OF[unit] / yardstick_ms if unit in MS_OF else None


def _median_ms(call: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent) * 1000


def _round_trip_ms(times: int) -> float:
    import zmq

    with tempfile.TemporaryDirectory(prefix="sc-") as folder, zmq.Context() as context:
        socket = context.socket(zmq.PAIR)
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = PATIENCE_MS
        address = f"ipc://{folder}/echo"
        socket.bind(address)
        echo = subprocess.Popen([sys.executable, "-c", ECHO, address])

        def there_and_back() -> None:
            socket.send(bytes(200))
            socket.recv()

        try:
            there_and_back()  # it has begun
            return _median_ms(there_and_back, times)
        finally:
            echo.kill()
            echo.wait()
            socket.close()
