"""Cars without camera, wheels and Raspberry Pi; tools.fleet.simulated_fleet runs this module for them.

A simulated car is the car's own code: its bridge with its MQTT session, its updater with its store, ledger
and journal, and the bus between them, each service in a thread instead of a process. Two things stand in for
what costs a processor and isn't the fleet's matter: a recognizer that reads nothing but answers `try` and
`adopt` as the real one does, and a golden test that every bundle passes.

A bundle says in its version how it does on trial: see FAULTS.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

from messages.command import CommandRefused
from messages.recognizer_commands import (
    RecognizerAdopt,
    RecognizerDrop,
    RecognizerModel,
    RecognizerTry,
    TrialReport,
)
from messages.vision import ModelInfo
from models.bundle.acceptance import Proof
from models.bundle.bundle import Bundle
from models.importing import isolated as importing
from models.store_reader import bundle_folder
from services.bridge import status_reporter
from services.bridge.service import BridgeService
from services.catalogue import SERVICES
from services.config import Car, Models, Paths, Settings
from services.service import Service
from services.updater.service import UpdaterService
from tools.fleet.simulated_fleet import SimulationSettings

INFERENCES_PER_S = 150
SIMULATED = ("recognizer", "updater", "bridge")
FAULTS = {
    "-fails": "it answers NaN",
    "-blind": "",  # is taken, and then no frame is read any more
    "-sick": "",  # is taken, and then the recognizer says that something is wrong
}
"""The end of a version, and what is wrong with that model."""

log = logging.getLogger(__name__)


class SimulatedRecognizer(Service):
    """Has every model on trial read well, unless its version says otherwise."""

    name = "recognizer"
    about = "stands for a recognizer"
    handles = {RecognizerTry: "attempt", RecognizerAdopt: "adopt", RecognizerDrop: "drop"}
    hertz: ClassVar[int] = 30

    def start(self) -> None:
        self._trial = ""
        self._began = 0.0
        self._versions: dict[str, str] = {}
        self.every(1.0, self._read)
        self._reading = ""
        self.report("ready")

    def attempt(self, command: RecognizerTry) -> TrialReport:
        digest = command.bundle
        if self._trial != digest:
            if command.renew:
                raise CommandRefused("no-trial", "There is no such trial.")
            self._trial, self._began = digest, time.monotonic()
        seconds = time.monotonic() - self._began
        failed = self._version(digest).endswith("-fails")
        return TrialReport(
            digest=digest,
            phase="failed" if failed else "reading",
            seconds=round(seconds, 3),
            inferences=int(seconds * INFERENCES_PER_S),
            problem=FAULTS["-fails"] if failed else "",
        )

    def adopt(self, command: RecognizerAdopt) -> RecognizerModel:
        self._trial, self._reading = "", command.bundle
        if self._version(command.bundle).endswith("-sick"):
            self.report("degraded", "the model on this car is sick")
        else:
            self.report("ready")
        return self._model()

    def drop(self, _: RecognizerDrop) -> RecognizerModel:
        self._trial = ""
        return self._model()

    def _model(self) -> RecognizerModel:
        digest = self._reading
        info = ModelInfo(name="simulated", version=self._version(digest), digest=digest or "0" * 64)
        return RecognizerModel(model=info)

    def _read(self) -> None:
        if not self._version(self._reading).endswith("-blind"):
            self.metrics.count("frames", self.hertz)

    def _version(self, digest: str) -> str:
        if digest and digest not in self._versions:
            folder = bundle_folder(self.settings.store, digest)
            self._versions[digest] = Bundle.load(folder).manifest.version
        return self._versions.get(digest, "")


def _passes(*_: object, **__: object) -> Proof:
    return Proof(accuracy=0.99, latency_ms=0.3, digits=100)


def settings_of(simulation: SimulationSettings, name: str) -> Settings:
    """How a simulated car is configured."""
    root = Path(simulation.root) / name
    return Settings(
        car=Car(name=name),
        paths=Paths(runtime=root / "run", state=root / "state"),
        mqtt=simulation.mqtt,
        models=Models(
            follow=simulation.follow,
            trust=simulation.trust,
            groups=simulation.groups,
            trial_inferences=10,
            trial_seconds=simulation.trial_s,
        ),
    )


class _Thread(threading.Thread):
    """One service of one car."""

    def __init__(self, service: type[Service], settings: Settings) -> None:
        super().__init__(name=f"{settings.car.name} {service.name}", daemon=True)
        self._class, self._settings = service, settings
        self._stopping = False
        self._service: Service | None = None
        self.start()

    def run(self) -> None:
        try:
            self._service = self._class(self._settings)
            if not self._stopping:
                self._service.serve()
        except Exception:
            log.exception("%s crashed", self.name)

    def stop(self) -> None:
        self._stopping = True
        if self._service is not None:
            self._service.request_stop()


def main() -> None:
    """Run the cars until standard input ends."""
    simulation = SimulationSettings.model_validate_json(sys.stdin.readline())
    logging.basicConfig(level="ERROR", format="%(threadName)s: %(message)s")
    for name in SERVICES.keys() - set(SIMULATED):
        del SERVICES[name]  # nobody waits for them, nor calls their silence a fault
    importing.prove = _passes
    status_reporter.METRICS_S = simulation.metrics_s
    SimulatedRecognizer.hertz = simulation.hertz
    threads = []
    for name in simulation.cars:
        settings = settings_of(simulation, name)
        threads += [_Thread(each, settings) for each in (SimulatedRecognizer, UpdaterService, BridgeService)]
    sys.stdin.read()
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(10.0)


if __name__ == "__main__":
    main()
