"""Commands: answered once per id, in time or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from messages.bus import endpoint
from messages.capture_commands import CapturePause, CaptureResume, CaptureSource
from messages.command import CommandRefused, parse_command
from messages.recognizer_commands import RecognizerRead
from messages.rpc.clients import CommandClient
from messages.rpc.server import CommandServer
from messages.vision import Box, GreyImage

Context = zmq.Context[zmq.Socket[bytes]]


@contextmanager
def serving(server: CommandServer) -> Iterator[None]:
    """Answer commands on another thread, as a service's loop would."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            if server.socket.poll(5):
                server.serve()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_command_is_carried_out_and_answered(context: Context, runtime: Path) -> None:
    server = CommandServer(context, runtime, "capture")
    names: list[str] = []
    server.handle(CaptureSource, lambda command: names.append(command.name))
    with serving(server):
        reply = CommandClient(context, runtime).send(CaptureSource(id="a", name="front"))
    assert (reply.status, reply.id, names) == ("ok", "a", ["front"])


def test_the_same_id_is_carried_out_once_and_answered_alike(context: Context, runtime: Path) -> None:
    server = CommandServer(context, runtime, "capture")
    calls: list[str] = []
    server.handle(CapturePause, lambda command: calls.append(command.id))
    with serving(server):
        replies = [CommandClient(context, runtime).send(CapturePause(id="same")) for _ in range(3)]
    assert calls == ["same"]
    assert replies == [replies[0]] * 3


def test_a_refusal_reaches_the_sender_with_code_and_sentence(context: Context, runtime: Path) -> None:
    server = CommandServer(context, runtime, "capture")

    def refuse(_: CapturePause) -> None:
        raise CommandRefused("busy", "not now")

    server.handle(CapturePause, refuse)
    with serving(server):
        client = CommandClient(context, runtime)
        refused, unknown = client.send(CapturePause()), client.send(CaptureResume())
    assert refused.error is not None
    assert (refused.error.code, refused.error.message) == ("busy", "not now")
    assert unknown.error is not None
    assert unknown.error.code == "unknown-verb"


def test_without_a_service_the_answer_says_so_in_time(context: Context, runtime: Path) -> None:
    reply = CommandClient(context, runtime).send(CapturePause(id="x"), deadline_s=0.05)
    assert reply.error is not None
    assert (reply.id, reply.error.code) == ("x", "no-answer")


def test_what_nobody_waits_for_any_more_is_not_done_later(context: Context, runtime: Path) -> None:
    server = CommandServer(context, runtime, "capture")
    calls: list[str] = []
    server.handle(CapturePause, lambda command: calls.append(command.id))
    client = CommandClient(context, runtime)
    raw = context.socket(zmq.DEALER)
    raw.connect(endpoint(runtime, "capture", "command"))
    raw.send_multipart((b"1", b"capture.pause", str(time.monotonic_ns() - 1).encode(), b'{"id": "late"}'))
    raw.send_multipart((b"2", b"capture.pause", b"", b'{"id": "no-deadline"}'))
    with serving(server):
        assert raw.recv_multipart()[0] == b"2"
        client.send(CapturePause(id="in-time"))
    assert calls == ["no-deadline", "in-time"]


def test_rubbish_at_the_command_socket_is_answered_or_dropped_and_service_goes_on(
    context: Context, runtime: Path
) -> None:
    server = CommandServer(context, runtime, "capture")
    server.handle(CapturePause, lambda _: None)
    raw = context.socket(zmq.DEALER)
    raw.connect(endpoint(runtime, "capture", "command"))
    raw.send(b"short")
    raw.send_multipart((b"t", b"\xff\xfe", b"x", b"\x00"))
    raw.send_multipart((b"u", b"capture.pause", b"", b'{"surprise": 1}'))
    with serving(server):
        assert b"unknown-verb" in raw.recv_multipart()[1]
        assert b"malformed" in raw.recv_multipart()[1]
        assert CommandClient(context, runtime).send(CapturePause()).status == "ok"


def test_a_command_past_its_time_is_refused() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    late = CapturePause(expires_at=now - timedelta(seconds=1)).model_dump_json()
    with pytest.raises(CommandRefused) as caught:
        parse_command("capture.pause", late, now)
    assert caught.value.code == "expired"


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b'{"name": ""}', b'{"name": 5}', b'{"name": "a", "extra": 1}', b"[]",
     b'{"id": "", "name": "a"}', b'{"name": "a", "expires_at": "yesterday"}',
     b'{"name": "a", "expires_at": "2026-01-01T00:00:00"}'],
)  # fmt: skip
def test_a_malformed_command_is_refused_with_its_field(payload: bytes) -> None:
    with pytest.raises(CommandRefused) as caught:
        parse_command("capture.source", payload, datetime(2025, 1, 1, tzinfo=UTC))
    assert caught.value.code == "malformed"
    assert caught.value.message.startswith("capture.source: ")


@given(st.integers(1, 60), st.integers(1, 60), st.binary(max_size=10))
def test_an_image_survives_the_wire_and_must_be_complete(width: int, height: int, surplus: bytes) -> None:
    pixels = bytes(index % 256 for index in range(width * height))
    command = RecognizerRead(
        image=GreyImage(width=width, height=height, pixels=pixels),
        boxes=(Box(x=0, y=0, width=width, height=height),),
    )
    assert RecognizerRead.model_validate_json(command.model_dump_json()) == command
    if surplus:
        with pytest.raises(ValueError, match="pixels came"):
            GreyImage(width=width, height=height, pixels=pixels + surplus)
    with pytest.raises(ValueError, match="outside the image"):
        RecognizerRead(image=command.image, boxes=(Box(x=1, y=0, width=width, height=height),))
