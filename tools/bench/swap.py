"""`smartcar bench swap`: from a command to the first reading by another model, and what swapping costs."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import zmq

from messages.bus import Subscriber
from messages.command import Command
from messages.model_commands import ModelActivate, ModelImport, ModelList, ModelRollback, ModelTable
from messages.requests import CommandClient
from messages.vision import Reading
from models.archive import pack
from models.bundle import Bundle
from models.manifest import MANIFEST_FILE
from models.store import FACTORY_FOLDER
from tools.bench.car import Car, running_car
from tools.bench.report import Figure, percentile
from tools.problems import Problem

BUNDLE_GOAL_MS = 300.0
KERAS_GOAL_MS = 3000.0
MEMORY_GOAL_PERCENT = 5.0
COURSE_FILE = Path(__file__).parent.parent.parent / "tests" / "models" / "keras_files" / "course-tf24.h5"
INSTALLED = 10
WITHIN_S = 60.0
SETTLE_S = 3.0


def measure(swaps: int = 200, hertz: float = 30.0, keras: Path | None = None) -> list[Figure]:
    """Swap models in a running car that looks at rendered frames. Raises Problem."""
    os.environ["SMARTCAR_MODELS__TRIAL_SECONDS"] = "0.2"
    os.environ["SMARTCAR_MODELS__KEEP"] = "100"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with running_car(hertz) as car:
            car.wait_until_ready(context)
            return _Bench(context, car, hertz).figures(swaps, keras or COURSE_FILE)
    finally:
        context.destroy(linger=0)


class _Bench:
    """Commands in, readings out."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], car: Car, hertz: float) -> None:
        self._client = CommandClient(context, car.runtime)
        self._subscriber = Subscriber(context, car.runtime, ["reading"], ["recognizer"])
        self._frame_ms = 1000 / hertz
        self._heard: list[tuple[int, Reading]] = []
        self._recognizer = _pid(car.runtime, "recognizer")

    def figures(self, swaps: int, keras: Path) -> list[Figure]:
        self._rest(SETTLE_S)
        installed = [self._install(number) for number in range(INSTALLED)]
        figures = [
            Figure(
                "bundle handed over to its first reading, p50",
                statistics.median(installed),
                "ms",
                BUNDLE_GOAL_MS,
            ),
            Figure("bundle handed over to its first reading, most", max(installed), "ms", BUNDLE_GOAL_MS),
        ]
        if keras.exists():
            command = ModelImport(name=keras.name, content=keras.read_bytes())
            figures.append(
                Figure(f"{keras.name} to its first reading", self._swap(command), "ms", KERAS_GOAL_MS)
            )
            self._committed()
        activated = self._swap(ModelActivate(model="factory"))
        self._committed()
        figures.append(Figure("model of the store to its first reading", activated, "ms", BUNDLE_GOAL_MS))
        self._swap(ModelRollback())  # from here on there are two to go to and fro between
        self._rest(SETTLE_S)
        before = _pss_mb(self._recognizer)
        del self._heard[:-1]
        backs = [self._swap(ModelRollback()) for _ in range(swaps)]
        self._rest(SETTLE_S)
        after = _pss_mb(self._recognizer)
        gaps = self._gaps()
        return [
            *figures,
            Figure("rollback to the first reading, p50", statistics.median(backs), "ms", BUNDLE_GOAL_MS),
            Figure("rollback to the first reading, p99", percentile(backs, 0.99), "ms", BUNDLE_GOAL_MS),
            Figure("swaps", len(gaps), ""),
            Figure(
                "readings later than a frame's time at a swap, p99",
                percentile(gaps, 0.99),
                "ms",
                self._frame_ms,
            ),
            Figure("frames unread at a swap", self._unread(), "", 0.0),
            Figure("memory of the recognizer before (PSS)", before, "MB"),
            Figure(
                f"memory after {swaps} swaps, more", 100 * (after - before) / before, "%", MEMORY_GOAL_PERCENT
            ),
        ]

    def _install(self, number: int) -> float:
        taken = self._swap(ModelImport(name=f"bench-{number}.zip", content=pack(_another(number))))
        self._committed()
        return taken

    def _swap(self, command: Command) -> float:
        """Milliseconds until another model reads."""
        self._listen(0)
        before = self._heard[-1][1].model.digest
        started = time.monotonic_ns()
        reply = self._client.send(command, WITHIN_S)
        if reply.error is not None:
            raise Problem(f"{command.verb}: {reply.error.message}")
        arrived = self._until(lambda reading: reading.model.digest != before)
        return (arrived - started) / 1e6

    def _committed(self) -> None:
        """Until no change is under way."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            table = ModelTable.model_validate(self._client.send(ModelList(), 5.0).data)
            if table.history[-1].percent == 100:
                self._rest(0.3)
                return
            self._rest(0.1)
        raise Problem("a change of the model never ended")

    def _until(self, wanted: Callable[[Reading], bool]) -> int:
        deadline = time.monotonic() + WITHIN_S
        start = len(self._heard)
        while time.monotonic() < deadline:
            for arrived, reading in self._heard[max(0, start - 1) :]:
                if wanted(reading):
                    return arrived
            start = len(self._heard)
            self._listen(100)
        raise Problem("the other model never read; see smartcar model list")

    def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._listen(20)

    def _listen(self, wait_ms: int) -> None:
        self._subscriber.state_socket.poll(wait_ms)
        self._heard += [(reading.monotonic_ns, reading) for _, reading in self._subscriber.receive()]

    def _at_swaps(self) -> list[tuple[Reading, Reading]]:
        readings = [reading for _, reading in self._heard]
        return [
            (before, after)
            for before, after in itertools.pairwise(readings)
            if before.model.digest != after.model.digest
        ]

    def _gaps(self) -> list[float]:
        """How much later than a frame's time the first reading by the other model came."""
        return [
            max(0.0, (after.monotonic_ns - before.monotonic_ns) / 1e6 - self._frame_ms)
            for before, after in self._at_swaps()
        ]

    def _unread(self) -> int:
        return sum(after.frame_id - before.frame_id - 1 for before, after in self._at_swaps())


def _another(number: int) -> Bundle:
    """The shipped model under another name."""
    bundle = Bundle.load(FACTORY_FOLDER)
    manifest = bundle.manifest.model_copy(update={"name": f"bench-{number}"})
    files = bundle.files() | {MANIFEST_FILE: manifest.model_dump_json().encode()}
    return replace(Bundle.from_files(files, bundle.folder), signature=None)


def _pid(runtime: Path, service: str) -> int:
    return int((runtime / service / "lock").read_text())


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
