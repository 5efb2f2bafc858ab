"""`smartcar bench swap`: from a command to the first reading by another model, and what swapping costs."""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import zmq

from messages.bus import endpoint, new_socket
from messages.command import Command
from messages.message import MAX_MESSAGE_BYTES, decode
from messages.model_commands import ModelActivate, ModelImport, ModelList, ModelRollback, ModelTable
from messages.rpc.clients import CommandClient
from messages.vision import Reading
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.manifest import MANIFEST_FILE
from models.store_reader import FACTORY_FOLDER
from tools.bench.car import BenchCar, running_car
from tools.bench.report import Figure, percentile
from tools.terminal.problems import Problem

BUNDLE_GOAL_MS = 300.0
KERAS_GOAL_MS = 3000.0
MEMORY_GOAL_PERCENT = 5.0
COURSE_FILE = (
    Path(__file__).parent.parent.parent / "tests" / "models" / "importing" / "keras_files" / "course-tf24.h5"
)
INSTALLED = 10
WITHIN_S = 60.0
SETTLE_S = 3.0
BETWEEN_S = 0.1


def measure(swaps: int = 200, hertz: float = 30.0, keras: Path | None = None) -> list[Figure]:
    """Swap models in a running car that looks at rendered frames. Raises Problem."""
    os.environ["SMARTCAR_MODELS__TRIAL_SECONDS"] = "0.2"
    os.environ["SMARTCAR_MODELS__KEEP"] = "100"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with running_car(hertz) as car:
            car.wait_until_ready(context)
            bench = _Bench(context, car, hertz)
            try:
                return bench.figures(swaps, keras or COURSE_FILE)
            finally:
                bench.close()
    finally:
        context.destroy(linger=0)


@dataclass(frozen=True)
class _Read:
    """What one reading says."""

    frame_id: int
    at_ns: int
    digest: str


class _Listener(threading.Thread):
    """Hears every reading; a Subscriber keeps only the newest while its owner is busy."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        super().__init__(daemon=True)
        self._socket = new_socket(context, zmq.SUB, 10_000, MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"reading\0")
        self._socket.connect(endpoint(runtime, "recognizer", "state"))
        self.heard: list[_Read] = []
        self.closing = False

    def run(self) -> None:
        while not self.closing:
            if self._socket.poll(50):
                reading = decode(Reading, self._socket.recv().split(b"\0", 2)[2])
                self.heard.append(_Read(reading.frame_id, reading.monotonic_ns, reading.model.digest))
        self._socket.close()


class _Bench:
    """Commands in, readings out."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], car: BenchCar, hertz: float) -> None:
        self._client = CommandClient(context, car.runtime)
        self._frame_ms = 1000 / hertz
        self._recognizer = int((car.runtime / "recognizer" / "lock").read_text())
        self._listener = _Listener(context, car.runtime)
        self._listener.start()

    def close(self) -> None:
        self._client.close()
        self._listener.closing = True
        self._listener.join()

    def figures(self, swaps: int, keras: Path) -> list[Figure]:
        self._settled()
        installed = [self._handed_over(number) for number in range(INSTALLED)]
        figures = [
            Figure("bundle handed over to reading, p50", statistics.median(installed), "ms", BUNDLE_GOAL_MS),
            Figure("bundle handed over to reading, most", max(installed), "ms", BUNDLE_GOAL_MS),
        ]
        if keras.exists():
            taken = self._swap(ModelImport(name=keras.name, content=keras.read_bytes()))
            figures.append(Figure(f"{keras.name} to reading", taken, "ms", KERAS_GOAL_MS))
            self._committed()
        activated = self._swap(ModelActivate(model="factory"))
        self._committed()
        self._swap(ModelRollback())
        time.sleep(SETTLE_S)
        first, before = len(self._listener.heard), pss_mb(self._recognizer)
        backs = []
        for _ in range(swaps):
            backs.append(self._swap(ModelRollback()))
            time.sleep(BETWEEN_S)
        time.sleep(SETTLE_S)
        after = pss_mb(self._recognizer)
        pairs = list(itertools.pairwise(self._listener.heard[first:]))
        swapped = [pair for pair in pairs if pair[0].digest != pair[1].digest]
        others = [pair for pair in pairs if pair[0].digest == pair[1].digest]
        return [
            *figures,
            Figure("model of the store to reading", activated, "ms", BUNDLE_GOAL_MS),
            Figure("rollback to reading, p50", statistics.median(backs), "ms", BUNDLE_GOAL_MS),
            Figure("rollback to reading, p99", percentile(backs, 0.99), "ms", BUNDLE_GOAL_MS),
            Figure("swaps", len(swapped), ""),
            Figure("reading late at a swap, p99", self._late(swapped), "ms", self._frame_ms),
            Figure("reading late between swaps, p99", self._late(others), "ms"),
            Figure("frames unread at swaps", _unread(swapped), "", 0.0),
            Figure("frames unread between swaps", _unread(others), ""),
            Figure("memory of the recognizer (PSS)", before, "MB"),
            Figure(f"more after {swaps} swaps", 100 * (after - before) / before, "%", MEMORY_GOAL_PERCENT),
        ]

    def _handed_over(self, number: int) -> float:
        taken = self._swap(ModelImport(name=f"bench-{number}.zip", content=pack(_another(number))))
        self._committed()
        return taken

    def _swap(self, command: Command) -> float:
        """Milliseconds from the command to the first reading by another model."""
        heard = self._listener.heard
        start, before = len(heard), heard[-1].digest
        sent_ns = time.monotonic_ns()
        reply = self._client.send(command, WITHIN_S)
        if reply.error is not None:
            raise Problem(f"{command.verb}: {reply.error.message}")
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            for reading in heard[start:]:
                if reading.digest != before:
                    return (reading.at_ns - sent_ns) / 1e6
            time.sleep(0.01)
        raise Problem("The other model never read; see smartcar model list.")

    def _settled(self) -> None:
        """Until the car has measured its own model: the last that it does after a start."""
        self._until(lambda table: any(row.state == "active" and row.accuracy for row in table.models))

    def _committed(self) -> None:
        """Until no change is under way."""
        self._until(lambda table: table.history[-1].percent == 100)

    def _until(self, done: Callable[[ModelTable], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if done(ModelTable.model_validate(self._client.send(ModelList(), 5.0).data)):
                return
            time.sleep(0.1)
        raise Problem("A change of the model never ended, or the car never measured its model.")

    def _late(self, pairs: Sequence[tuple[_Read, _Read]]) -> float:
        """How much later than a frame's time after the one before, 99 of 100 readings came at the most."""
        return percentile(
            [max(0.0, (after.at_ns - before.at_ns) / 1e6 - self._frame_ms) for before, after in pairs], 0.99
        )


def _unread(pairs: Sequence[tuple[_Read, _Read]]) -> int:
    return sum(after.frame_id - before.frame_id - 1 for before, after in pairs)


def _another(number: int) -> Bundle:
    """The shipped model under another name."""
    bundle = Bundle.load(FACTORY_FOLDER)
    manifest = bundle.manifest.model_copy(update={"name": f"bench-{number}"})
    files = bundle.files() | {MANIFEST_FILE: manifest.model_dump_json().encode()}
    return replace(Bundle.from_files(files, bundle.folder), signature=None)


def pss_mb(pid: int) -> float:
    """The proportional set size of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
