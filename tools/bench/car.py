"""A car to be measured: `smartcar up` with folders, ports and frames of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import zmq

from messages.bus import Subscriber
from services.capture.scene import EPISODE, Scene
from services.catalogue import SERVICES
from tools.terminal.problems import Problem

NAME = "bench"
READY_WITHIN_S = 60.0
STILL_FRAMES = 30


@dataclass(frozen=True)
class BenchCar:
    """A running car. `environment` is for commands that are to reach it; `began_s` is of time.monotonic()."""

    process: subprocess.Popen[bytes]
    runtime: Path
    broker_port: int
    environment: dict[str, str]
    began_s: float

    def wait_until_ready(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Until every service says so. Raises Problem where one does not."""
        subscriber = Subscriber(context, self.runtime, ["health"], SERVICES)
        ready: set[str] = set()
        deadline = time.monotonic() + READY_WITHIN_S
        try:
            while len(ready) < len(SERVICES):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise Problem(f"The car is not ready; only {', '.join(sorted(ready)) or 'nothing'} is.")
                subscriber.state_socket.poll(200)
                for _, message in subscriber.receive():
                    if message.state == "ready":
                        ready.add(message.source)
        finally:
            subscriber.close()


@contextmanager
def running_car(
    hertz: float, width: int = 640, height: int = 480, *, always_in_view: bool = False
) -> Iterator[BenchCar]:
    """A car that looks at frames rendered beforehand: neither decoding nor rendering is measured.

    With `always_in_view` the code is there from the first frame on and stays.
    """
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/dev/shm") as folder:
        root = Path(folder)
        video = root / "frames.npy"
        _render(video, width, height, always_in_view)
        environment = os.environ | {
            "SMARTCAR_PATHS__RUNTIME": str(root / "run"),
            "SMARTCAR_PATHS__STATE": str(root / "state"),
            "SMARTCAR_CAPTURE__HERTZ": str(hertz),
            "SMARTCAR_CAR__NAME": NAME,
        }
        broker_port = _free_port()
        arguments = ("--source", str(video), "--port", "0", "--broker-port", str(broker_port))
        began_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.cli", "up", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield BenchCar(process, root / "run", broker_port, environment, began_s)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _render(path: Path, width: int, height: int, always_in_view: bool, episodes: int = 2) -> None:
    """The first `episodes` of the scene with one card and five digits: it comes, is read, leaves."""
    scene = Scene(width, height, 0)
    of_five = (number for number in count() if _digits_in_view(scene, number) == [5])
    if always_in_view:
        chosen = [next(of_five) * EPISODE + EPISODE // 2] * STILL_FRAMES
    else:
        chosen = [
            number * EPISODE + moment for number in islice(of_five, episodes) for moment in range(EPISODE)
        ]
    shape = (len(chosen), height, width, 3)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for place, index in enumerate(chosen):
        array[place] = scene.frame(index)
    array.flush()


def _digits_in_view(scene: Scene, episode: int) -> list[int]:
    """How many digits each code has that is in view half-way through the episode."""
    return [len(code.digits) for code in scene.truth(episode * EPISODE + EPISODE // 2)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
