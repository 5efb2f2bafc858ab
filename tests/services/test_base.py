"""What the base does for every service, seen on one that a single file declares."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from messages.bus import Publisher, endpoint
from messages.command import Reply
from messages.vision import FrameReady
from services.catalogue import SERVICES, TOPICS
from services.supervision import FailureNote
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.horn import HORN_STATE, HornBreak, HornService, HornSound
from tests.services.processes import Onlooker, environment

Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def horn(runtime: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.services.horn", "horn"],
        cwd=REPOSITORY, env=environment(runtime), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def onlooker(context: Context, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Onlooker:
    monkeypatch.setitem(SERVICES, "horn", HornService)
    monkeypatch.setitem(TOPICS, "horn.state", replace(HORN_STATE, owner="horn"))
    return Onlooker(context, runtime)


def test_a_topic_and_a_command_that_one_file_declares_are_everywhere() -> None:
    """On the bus, at the doors, among what MQTT mirrors, and in the docs."""
    program = (
        "from services import catalogue\n"
        "from messages.command import Door, verbs\n"
        "from tests.services.horn import HornService\n"
        "catalogue.add(HornService)\n"
        "assert 'horn.sound' in verbs(Door.MQTT) and 'horn.sound' in verbs(Door.PAGE)\n"
        "from tools.interface.channels import said, taken\n"
        "from tools.interface.written import asyncapi\n"
        "assert 'state/horn' in [row.topic for row in said()]\n"
        "assert ('horn.sound', True) in [(row.verb, row.by_default) for row in taken()]\n"
        "assert 'horn.break' not in [row.verb for row in taken()]\n"
        "assert '/cmd/horn/sound' in asyncapi()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_a_command_is_carried_out(horn: subprocess.Popen[str], onlooker: Onlooker) -> None:
    onlooker.wait_state("horn", "ready")
    assert onlooker.commands.send(HornSound()).status == "ok"
    onlooker.wait(lambda: [state.on for state in onlooker.of("horn.state")] == [True])


def test_a_handler_that_fails_ends_its_command_and_not_the_service(
    horn: subprocess.Popen[str], onlooker: Onlooker
) -> None:
    onlooker.wait_state("horn", "ready")
    for _ in range(3):
        reply = onlooker.commands.send(HornBreak(where="handler"))
        assert reply.error is not None
        assert reply.error.code == "internal_error"
        assert "horn failed at horn.break (ZeroDivisionError)" in reply.error.message
    onlooker.wait(lambda: onlooker.health["horn"].counters.get("errors.horn.break") == 3)
    assert onlooker.commands.send(HornSound()).status == "ok"
    horn.send_signal(signal.SIGTERM)
    _, log = horn.communicate(timeout=PATIENCE_S)
    assert log.count("ZeroDivisionError: a fault of the handler's") == 1


def test_a_message_that_its_handler_fails_at_is_passed_over(
    horn: subprocess.Popen[str], onlooker: Onlooker, context: Context, runtime: Path
) -> None:
    onlooker.wait_state("horn", "ready")
    capture = Publisher(context, runtime / "run", "capture")

    def failed() -> bool:
        now = time.monotonic_ns()
        frame = FrameReady(
            frame_id=1, captured_ns=now, view="", ring="a" * 16, slot=0, generation=1, height=1, width=1
        )
        capture.publish("frame", frame)
        onlooker.listen()
        return onlooker.health["horn"].counters.get("errors.frame", 0) > 1

    wait_for(failed)
    assert onlooker.commands.send(HornSound()).status == "ok"
    capture.close()


def test_who_crashes_says_failed_and_never_stopped(
    horn: subprocess.Popen[str], onlooker: Onlooker, runtime: Path
) -> None:
    onlooker.wait_state("horn", "ready")
    onlooker.commands.send(HornBreak(where="loop"))
    beat = onlooker.wait_state("horn", "failed", "crashed: ZeroDivisionError: a fault of the handler's")
    assert beat.details == {"cleaned_up": "False"}
    assert horn.wait(PATIENCE_S) == 1
    assert "stopped" not in {each.state for each in onlooker.of("health")}
    note = FailureNote.read(runtime / "run", "horn")
    assert note is not None
    assert note.reason == beat.reason


def test_who_is_asked_to_stop_says_stopped(horn: subprocess.Popen[str], onlooker: Onlooker) -> None:
    onlooker.wait_state("horn", "ready")
    horn.send_signal(signal.SIGTERM)
    assert onlooker.wait_state("horn", "stopped").details == {"cleaned_up": "True"}
    assert horn.wait(PATIENCE_S) == 0


def test_a_request_of_rubbish_ends_nothing(
    horn: subprocess.Popen[str], onlooker: Onlooker, context: Context, runtime: Path
) -> None:
    onlooker.wait_state("horn", "ready")
    raw = context.socket(zmq.DEALER)
    raw.connect(endpoint(runtime / "run", "horn", "command"))
    raw.send_multipart([b"1", b"horn.sound", b"9" * 5000, b"{}"])
    assert raw.poll(5000)
    assert Reply.model_validate_json(raw.recv_multipart()[1]).status == "ok"
    raw.close()


def test_a_runtime_folder_that_is_too_long_for_sockets_is_said(tmp_path: Path) -> None:
    settings = environment(tmp_path) | {"SMARTCAR_PATHS__RUNTIME": str(tmp_path / ("x" * 90))}
    done = subprocess.run(
        [sys.executable, "-m", "services", "pad"],
        cwd=REPOSITORY, env=settings, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert "is too long for sockets" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_head_does_not_declare_is_not_asked(context: Context, runtime: Path) -> None:
    from services.loop import Loop
    from services.peers import Peers

    peers = Peers(Loop(), context, runtime, {"capture": ()}, forwards=False)
    with pytest.raises(TypeError, match=r"horn\.sound"):
        peers.ask(HornSound(), lambda _: None)
