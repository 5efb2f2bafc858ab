"""The command line, and the whole car under `smartcar up`, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.catalogue import SERVICES
from services.config import Paths, Settings
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.processes import environment
from tools.observe.snapshot import ask

LOW_RATE = {"CAPTURE__HERTZ": "5", "CAPTURE__WIDTH": "320", "CAPTURE__HEIGHT": "240"}
"""So that a test's car leaves the machine to the others."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tools.cli", *arguments]


def smartcar(runtime: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `smartcar …` to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        env=environment(runtime, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def objects(printed: str) -> list[dict[str, Any]]:
    """What was printed with --json: one object a line."""
    return [json.loads(line) for line in printed.splitlines()]


class Car:
    """A running `smartcar up`. All it prints goes to the file `printed`."""

    def __init__(self, runtime: Path, *arguments: str, **settings: str) -> None:
        self.runtime = runtime
        self._file = runtime / f"printed-{os.urandom(2).hex()}"
        own_broker = [] if "MQTT__HOST" in settings else ["--broker-port", "0"]
        with self._file.open("wb") as out:
            self.process = subprocess.Popen(
                command("up", "--port", "0", *own_broker, *arguments),
                cwd=REPOSITORY,
                env=environment(runtime, **{**LOW_RATE, **settings}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self._file.read_text(errors="replace")

    def status(self) -> dict[str, dict[str, Any]]:
        """What `smartcar status` finds, by service."""
        settings = Settings(paths=Paths(runtime=self.runtime / "run"))
        return {status.service: asdict(status) for status in ask(settings).services}

    def wait_printed(self, text: str, within_s: float = PATIENCE_S) -> str:
        wait_for(
            lambda: text in self.printed or self.process.poll() is not None, within_s, f"{text!r} printed"
        )
        assert text in self.printed
        return self.printed

    def wait_states(self, **states: str) -> dict[str, dict[str, Any]]:
        """Until `smartcar status` shows these states."""
        seen: dict[str, dict[str, Any]] = {}

        def so() -> bool:
            seen.update(self.status())
            return all(seen[name]["state"] == state for name, state in states.items())

        try:
            wait_for(so)
        finally:
            if not all(seen.get(name, {}).get("state") == state for name, state in states.items()):
                print(self.printed, seen)  # pytest shows it beside the failure
        return seen

    def wait_ready(self) -> dict[str, dict[str, Any]]:
        return self.wait_states(**dict.fromkeys(SERVICES, "ready"))

    def stop(self, number: int = signal.SIGINT, within_s: float = PATIENCE_S) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def processes(self) -> dict[int, str]:
        """The processes that live with this car's runtime folder in their environment, by their number."""
        mark = f"SMARTCAR_PATHS__RUNTIME={self.runtime / 'run'}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended
        return found

    def left_behind(self) -> list[Path]:
        """The files in the runtime folder."""
        return [path for path in (self.runtime / "run").rglob("*") if not path.is_dir()]


@contextmanager
def running_car(runtime: Path, *arguments: str, **settings: str) -> Iterator[Car]:
    """A car for the length of a block; nothing of it outlives the block."""
    car = Car(runtime, *arguments, **settings)
    try:
        yield car
    finally:
        if car.process.poll() is None:
            car.process.terminate()
            try:
                car.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                car.process.kill()
                car.process.wait()
        for pid in car.processes():
            os.kill(pid, signal.SIGKILL)
