"""The overlay as a process: where it listens, what it tells, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq

from messages.bus import Subscriber
from messages.health import Heartbeat
from services.catalogue import SERVICES
from services.supervision import FailureNote
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.overlay.conftest import Launch, Overlay, closing_code
from tests.services.overlay.standin import StandIn


@pytest.fixture
def heartbeat(context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> Any:
    """The overlay's newest heartbeat, as the bus tells it."""
    subscriber = Subscriber(context, runtime, ["health"], SERVICES)
    newest: list[Heartbeat] = []

    def latest() -> Heartbeat | None:
        newest.extend(message for _, message in subscriber.receive() if message.source == "overlay")
        return newest[-1] if newest else None

    yield latest
    subscriber.close()


def test_the_address_is_told_without_its_token_and_kept_with_it(overlay: Overlay, heartbeat: Any) -> None:
    beat = wait_for(lambda: (one := heartbeat()) and one.state == "ready" and one)
    assert beat.details["address"] == f"http://127.0.0.1:{overlay.port}/"
    assert overlay.token not in beat.model_dump_json()
    assert overlay.address_file.stat().st_mode & 0o777 == 0o600
    overlay.says("the page is at")
    assert overlay.token not in overlay.log.read_text()


def test_a_clean_stop_says_goodbye_and_leaves_no_address(overlay: Overlay, heartbeat: Any) -> None:
    with overlay.live() as viewer:
        assert overlay.stop() == 0
        assert closing_code(viewer) == 1012, "service restart"
    assert not overlay.address_file.exists()
    assert wait_for(heartbeat).state == "stopped"
    assert "Traceback" not in overlay.log.read_text()


def test_the_token_outlives_the_process(launch: Launch) -> None:
    first = launch().listening()
    token = first.token
    first.stop()
    assert launch().listening().token == token


def test_a_taken_port_is_said_and_waited_for(launch: Launch, heartbeat: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        overlay = launch(OVERLAY__PORT=str(port))
        beat = wait_for(lambda: (one := heartbeat()) and one.state == "degraded" and one)
        assert beat.reason == (
            f"Port {port} is taken by another program; "
            "choose another with --port or overlay.port in the configuration."
        )
        assert "address" not in beat.details
        assert not overlay.address_file.exists()
    overlay.listening()
    assert overlay.port == port
    wait_for(lambda: heartbeat().state == "ready")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_said(launch: Launch, heartbeat: Any, host: str) -> None:
    launch(OVERLAY__HOST=host)
    beat = wait_for(lambda: (one := heartbeat()) and one.state == "degraded" and one)
    assert host in beat.reason
    assert "set overlay.host" in beat.reason


def test_a_page_that_is_open_to_the_network_says_so(launch: Launch) -> None:
    overlay = launch(OVERLAY__HOST="0.0.0.0").listening()
    answer = overlay.ask("GET", "/api/status", overlay.cookie)
    assert "without encryption" in answer.json["warning"]
    overlay.says("without encryption")
    told = wait_for(lambda: overlay.status()["overlay"]["details"].get("address"), what="the next heartbeat")
    assert told == f"http://127.0.0.1:{overlay.port}/"


def test_where_the_token_cannot_be_kept_the_page_opens_and_it_is_kept_once_it_can(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "overlay").write_text("in the way")
    overlay = launch().listening()
    wait_for(lambda: overlay.status()["overlay"]["state"] == "degraded")
    assert "set paths.state" in overlay.status()["overlay"]["reason"]
    (tmp_path / "state" / "overlay").unlink()
    wait_for(lambda: overlay.status()["overlay"]["state"] == "ready")
    assert (tmp_path / "state" / "overlay" / "token").read_text().strip() == overlay.token


def test_every_service_has_a_state_in_words(overlay: Overlay, car: StandIn) -> None:
    wait_for(lambda: overlay.status()["capture"]["state"] == "ready")
    rows = overlay.status()
    assert list(rows) == list(SERVICES)
    assert rows["overlay"]["state"] == "ready"
    assert rows["bridge"]["state"] == "not running"
    assert rows["bridge"]["reason"]

    car.states["recognizer"] = ("degraded", "The model was not found; set recognizer.bundle")
    wait_for(lambda: overlay.status()["recognizer"]["state"] == "degraded")
    assert overlay.status()["recognizer"]["reason"] == "The model was not found; set recognizer.bundle"


def test_a_service_that_falls_silent_is_noticed_and_its_last_words_are_shown(
    overlay: Overlay, car: StandIn
) -> None:
    wait_for(lambda: overlay.status()["recognizer"]["state"] == "ready")
    car.beating.remove("recognizer")
    wait_for(lambda: overlay.status()["recognizer"]["state"] == "silent")
    assert "has not been heard from" in overlay.status()["recognizer"]["reason"]
    FailureNote.write(overlay.runtime, "recognizer", "crashed: OSError: out of digits")
    wait_for(lambda: overlay.status()["recognizer"]["state"] == "not running")
    assert overlay.status()["recognizer"]["reason"] == "crashed: OSError: out of digits"
    car.beating.add("recognizer")
    wait_for(lambda: overlay.status()["recognizer"]["state"] == "ready")


def test_a_note_of_a_service_that_never_ran_is_shown(launch: Launch, runtime: Path) -> None:
    FailureNote.write(runtime, "bridge", "The broker refused the password; see mqtt.password_file")
    overlay = launch().listening()
    assert overlay.status()["bridge"] | {"about": ""} == {
        "name": "bridge",
        "about": "",
        "state": "not running",
        "reason": "The broker refused the password; see mqtt.password_file",
    }


def test_a_service_that_does_not_answer_is_said(overlay: Overlay) -> None:
    answer = overlay.command("capture.pause", {})
    assert answer.status == 504
    assert "capture did not answer" in answer.json["error"]["message"]
    assert overlay.status()["overlay"]["state"] == "ready", "the page did not wait with it"


def test_a_hung_server_thread_ends_the_process_so_that_it_begins_anew(runtime: Path, tmp_path: Path) -> None:
    """The work loop goes on; only the page would be dead, and nobody would notice."""
    program = (
        "import sys, threading, time\n"
        "from services.overlay import server, service\n"
        "from services.config import Overlay, Paths, Settings\n"
        "paths = Paths(runtime=sys.argv[1], state=sys.argv[2])\n"
        "server.HUNG_AFTER_S = 1.0\n"
        "server.STOP_S = 0.5\n"
        "class Hangs(service.OverlayService):\n"
        "    def _listening(self, port):\n"
        "        super()._listening(port)\n"
        "        self._page._loop.call_soon_threadsafe(time.sleep, 60)\n"
        "Hangs(Settings(paths=paths, overlay=Overlay(port=0))).run()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMARTCAR_")}
    process = subprocess.run(
        [sys.executable, "-c", program, str(runtime), str(tmp_path)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 1
    assert "the page's server has not answered" in process.stderr


def test_a_killed_overlay_comes_back_on_the_same_port(launch: Launch) -> None:
    first = launch().listening()
    port = first.port
    assert first.process is not None
    with first.live():
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(PATIENCE_S)
    first.address_file.unlink()
    assert launch(OVERLAY__PORT=str(port)).listening().port == port
