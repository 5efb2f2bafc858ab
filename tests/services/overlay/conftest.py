"""A running overlay process, a stand-in car beside it, and a browser to look at its page."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import PATIENCE_S, REPOSITORY, wait_for, wait_for_words
from tests.services.overlay.standin import StandIn


@dataclass
class Answer:
    """What the page's server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Overlay:
    """An overlay process, by its folders."""

    runtime: Path
    state: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address_file(self) -> Path:
        return self.runtime / "overlay" / "address"

    @property
    def log(self) -> Path:
        return self.state / "overlay.log"

    def start(self) -> Overlay:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SMARTCAR_")}
        environment |= {
            "SMARTCAR_PATHS__RUNTIME": str(self.runtime),
            "SMARTCAR_PATHS__STATE": str(self.state),
            "SMARTCAR_CAR__NAME": "testcar",
            "SMARTCAR_OVERLAY__PORT": "0",
        } | {f"SMARTCAR_{key}": value for key, value in self.settings.items()}
        self.state.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services", "overlay"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def listening(self) -> Overlay:
        """Wait until the page is there."""
        assert self.process is not None
        wait_for(
            lambda: self.address_file.exists() or self.process.poll() is not None,  # type: ignore[union-attr]
            what="the page's address",
        )
        assert self.process.poll() is None, self.log.read_text()
        return self

    def says(self, words: str) -> None:
        """Wait until its log holds these words: what it answers may come sooner."""
        wait_for_words(self.log, words)

    @property
    def address(self) -> str:
        """With its token."""
        return self.address_file.read_text().split()[0]

    @property
    def port(self) -> int:
        return int(self.address.partition("/?")[0].rpartition(":")[2])

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"smartcar-{self.port}={self.token}"}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request, exactly as given: nothing is followed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def status(self) -> dict[str, dict[str, Any]]:
        """The services by name, as the page's server tells them."""
        answer = self.ask("GET", "/api/status", self.cookie)
        assert answer.status == 200, answer.text
        return {row["name"]: row for row in answer.json["services"]}

    def pictures(self) -> int:
        """How many were encoded, as its last heartbeat had it."""
        return int(self.status()["overlay"]["counters"].get("pictures", 0))

    def pictures_per_second(self) -> float:
        """As its last heartbeat had it."""
        return float(self.status()["overlay"]["rates"].get("pictures", 0.0))

    def command(self, verb: str, content: dict[str, Any], **headers: str) -> Answer:
        given = {**self.cookie, "Origin": self.origin, "Content-Type": "application/json", **headers}
        return self.ask("POST", f"/api/command/{verb}", given, json.dumps(content).encode())

    def live(self, **options: Any) -> ClientConnection:
        """A WebSocket to the live view, let in."""
        options = {"additional_headers": self.cookie, "origin": self.origin, "proxy": None} | options
        return connect(f"ws://127.0.0.1:{self.port}/live", **options)

    def memory_kb(self) -> int:
        """What it has made itself; its share of libraries grows when another process of ours ends."""
        assert self.process is not None
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))

    def cpu_s(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def closing_code(viewer: ClientConnection) -> int:
    """Read on until the server closes the WebSocket; its code."""
    with pytest.raises(ConnectionClosed) as caught:
        for _ in iter(lambda: viewer.recv(PATIENCE_S), None):
            pass
    assert caught.value.rcvd is not None, "the connection broke without a closing frame"
    return caught.value.rcvd.code


Launch = Callable[..., Overlay]


@pytest.fixture
def launch(runtime: Path, tmp_path: Path) -> Iterator[Launch]:
    """Makes overlay processes on one runtime and state folder; they end with the test."""
    made: list[Overlay] = []

    def make(**settings: str) -> Overlay:
        overlay = Overlay(runtime, tmp_path / "state", settings)
        made.append(overlay)
        return overlay.start()

    yield make
    for overlay in made:
        if overlay.process is not None and overlay.process.poll() is None:
            overlay.process.kill()
            overlay.process.wait(PATIENCE_S)


@pytest.fixture
def overlay(launch: Launch) -> Overlay:
    """An overlay that listens."""
    return launch().listening()


@pytest.fixture
def car(runtime: Path, tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in for capture and recognizer on the same bus."""
    running = StandIn(runtime, tmp_path / "state")
    running.start()
    yield running
    running.finish()


@pytest.fixture(scope="module")
def shared_car() -> Iterator[StandIn]:
    """A stand-in car for all tests of a module; a test puts its switches back."""
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    running = StandIn(folder, folder / "state")
    running.start()
    yield running
    running.finish()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_overlay(shared_car: StandIn) -> Iterator[Overlay]:
    """An overlay beside it, for all tests of a module."""
    settings = {"CAPTURE__SOURCES": '{ kitchen = "folder:/srv/kitchen" }', "OVERLAY__HERTZ": "30"}
    running = Overlay(shared_car.runtime, shared_car.state_folder, settings).start().listening()
    yield running
    running.stop()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh browser profile's page that must not complain."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_S * 1000)
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
    tab.complaints = complaints
    yield tab
    context.close()
    assert complaints == []
