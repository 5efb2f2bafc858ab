"""One process of a measurement: `python -m tools.bench.carriers.program CARRIER write|read FOLDER …`.

It says `ready`, the writer then waits for a line, and both end with what they measured, as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np

from tools.bench.carriers.carrier import FrameReceiver, FrameSender

WARM_UP_FRAMES = 15


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _write(writer: FrameSender, shape: tuple[int, int, int], frames: int, hertz: float) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    print("ready", flush=True)
    sys.stdin.readline()
    before, start = 0.0, time.monotonic()
    for number in range(frames + WARM_UP_FRAMES):
        if number == WARM_UP_FRAMES:
            before = _processor_s()
        time.sleep(max(0.0, start + number / hertz - time.monotonic()))
        writer.send(number, time.monotonic_ns(), pixels)
    used = _processor_s() - before
    time.sleep(0.5)  # the last ones are under way
    writer.close()
    return {"processor_s": used}


def _read(reader: FrameReceiver, frames: int) -> dict[str, Any]:
    print("ready", flush=True)
    latencies: list[float] = []
    before = 0.0
    for number, began_ns, pixels in reader.frames():
        latency = (time.monotonic_ns() - began_ns) / 1000
        _ = int(pixels[-1, -1, -1])
        if number >= WARM_UP_FRAMES:
            before = before or _processor_s()
            latencies.append(latency)
        if number >= frames + WARM_UP_FRAMES - 1:
            break
    return {"latencies_us": latencies, "processor_s": _processor_s() - before}


def main() -> None:
    carrier, side, folder = sys.argv[1:4]
    width, height, readers, frames = map(int, sys.argv[4:8])
    module, shape = import_module(f"tools.bench.carriers.{carrier}"), (height, width, 3)
    if side == "write":
        told = _write(module.SENDER(folder, shape, readers), shape, frames, float(sys.argv[8]))
    else:
        told = _read(module.RECEIVER(folder, shape), frames)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
