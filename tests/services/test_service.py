"""The base of every service: says how it is, stops cleanly, and says why where it can't start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from messages.capture_commands import CapturePause
from services.metrics import ProcessorShare, memory_mb
from services.supervision import FailureNote, Starts
from tests.conftest import PATIENCE_S, wait_for
from tests.services.processes import Onlooker, environment, service, start_service

BUSY = "b = bytearray(64 << 20)\nprint(flush=True)\nwhile True: pass"

Context = zmq.Context[zmq.Socket[bytes]]


def test_a_service_beats_once_a_second_and_says_goodbye(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime) as process:
        onlooker.wait_state("capture", "ready")
        first = onlooker.health["capture"]
        onlooker.wait(lambda: onlooker.health["capture"].sequence >= first.sequence + 2)
        process.send_signal(signal.SIGTERM)
        onlooker.wait_state("capture", "stopped")
        assert process.wait(PATIENCE_S) == 0
    beats = [beat for beat in onlooker.of("health") if beat.state == "ready"]
    assert {beat.pid for beat in beats} == {process.pid}
    assert beats[-1].rates["frames"] > 0
    assert beats[-1].memory_mb > 0


def test_a_stopped_service_leaves_neither_socket_nor_ring_nor_process(
    context: Context, runtime: Path
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime) as process:
        onlooker.wait_state("capture", "ready")
        readers = [int(pid) for pid in _children(process.pid)]
        assert readers
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    left = [path.name for path in (runtime / "run" / "capture").rglob("*") if not path.is_dir()]
    assert left == ["lock"]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in readers))


def test_a_killed_service_takes_its_reader_along_and_starts_again(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime) as process:
        onlooker.wait_state("capture", "ready")
        readers = _children(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not any(_alive(pid) for pid in readers))
    seen = len(onlooker.of("frame"))
    with service("capture", runtime) as again:
        onlooker.wait(lambda: onlooker.health["capture"].pid == again.pid)
        onlooker.wait(lambda: len(onlooker.of("frame")) > seen + 5)


def test_a_service_counts_how_often_it_came_back_until_it_is_stopped(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("bridge", runtime) as process:
        onlooker.wait_state("bridge", "off")
        assert onlooker.health["bridge"].restarts == 0
        process.kill()
    with service("bridge", runtime) as again:
        onlooker.wait(lambda: onlooker.health["bridge"].pid == again.pid)
        assert onlooker.health["bridge"].restarts == 1
        assert Starts.restarts(runtime / "run", "bridge") == 1
    assert Starts.restarts(runtime / "run", "bridge") == 0


def test_what_a_helper_needs_counts_as_the_services_own() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=-1, stdout=-1) as helper:
        assert helper.stdout is not None
        share = ProcessorShare()
        helper.stdout.readline()
        assert memory_mb((helper.pid,)) > memory_mb() + 60
        wait_for(lambda: share.take((helper.pid,)) > 10)  # the machine may be very busy
        helper.kill()


def test_a_second_instance_names_the_first_and_does_not_disturb_it(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime) as first:
        onlooker.wait_state("capture", "ready")
        second = start_service("capture", runtime)
        _, said = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 78
        assert f"capture is already running here as process {first.pid}" in said
        assert FailureNote.read(runtime / "run", "capture") is None
        seen = len(onlooker.of("frame"))
        onlooker.wait(lambda: len(onlooker.of("frame")) > seen + 5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"CAPTURE__HERTZ": "0"}, "SMARTCAR_CAPTURE__HERTZ: capture.hertz: Input should be greater than 0"),
        ({"PATHS__RUNTIME": "/proc/nowhere"}, "The folder /proc/nowhere can't be made"),
        ({"CONFIG": "/no/such.toml"}, "/no/such.toml: No such file or directory; give another with --config"),
    ],
)
def test_what_keeps_a_service_from_starting_is_said_in_one_sentence(
    runtime: Path, settings: dict[str, str], says: str
) -> None:
    process = start_service("capture", runtime, **settings)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 78
    assert says in said
    assert "Traceback" not in said


def test_a_runtime_folder_too_long_for_sockets_is_not_tried_again(runtime: Path) -> None:
    process = start_service("pad", runtime, PATHS__RUNTIME=str(runtime / ("x" * 90)))
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 78
    assert "too long for sockets" in said
    assert "Traceback" not in said


def test_an_unwritable_state_folder_stops_no_service_and_is_said_until_it_can_be_used(
    context: Context, runtime: Path
) -> None:
    (runtime / "file").write_text("not a folder")
    onlooker = Onlooker(context, runtime)
    with service("updater", runtime, PATHS__STATE=str(runtime / "file")):
        onlooker.wait_state("updater", "degraded", "set paths.state")
        (runtime / "file").unlink()
        onlooker.wait_state("updater", "ready")


def test_commands_are_answered_by_the_running_service(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime):
        onlooker.wait_state("capture", "ready")
        assert onlooker.commands.send(CapturePause()).status == "ok"


def test_systemd_is_told_when_the_service_is_ready_alive_and_stopping(
    context: Context, runtime: Path
) -> None:
    pytest.importorskip("systemd.daemon", reason="this Python has no systemd-python")
    address = runtime / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(PATIENCE_S)
        os.environ["NOTIFY_SOCKET"] = str(address)
        try:
            assert environment(runtime)["NOTIFY_SOCKET"] == str(address)
            with service("capture", runtime) as process:
                told = [manager.recv(100).decode() for _ in range(3)]
                process.terminate()
                while told[-1] != "STOPPING=1":
                    told.append(manager.recv(100).decode())
        finally:
            del os.environ["NOTIFY_SOCKET"]
    assert told[0] == "READY=1"
    assert set(told[1:-1]) == {"WATCHDOG=1"}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
