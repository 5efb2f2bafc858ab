"""Commands sent from asyncio: answered by the service or by the client, and bounded while they wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from messages.capture_commands import CapturePause, CaptureSource
from messages.command import Reply
from messages.rpc.asynchronous import AsyncCommandClient
from messages.rpc.server import CommandServer

Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def server(context: Context, runtime: Path) -> Iterator[CommandServer]:
    """One that answers from another thread, and says back which source it was asked for."""
    server, stop = CommandServer(context, runtime, "capture"), threading.Event()
    server.handle(CaptureSource, lambda _: None)

    def loop() -> None:
        while not stop.is_set():
            if server.socket.poll(5):
                server.serve()

    thread = threading.Thread(target=loop)
    thread.start()
    yield server
    stop.set()
    thread.join()


def code(reply: Reply) -> str:
    return reply.error.code if reply.error else reply.status


def test_many_at_once_are_answered_each_by_its_id(
    context: Context, runtime: Path, server: CommandServer
) -> None:
    async def ask() -> list[Reply]:
        client = AsyncCommandClient(context, runtime, "capture")
        try:
            commands = [CaptureSource(id=f"c{number}", name="front") for number in range(50)]
            return await asyncio.gather(*(client.send(command, 10.0) for command in commands))
        finally:
            client.close()

    replies = asyncio.run(ask())
    assert [(reply.id, reply.status) for reply in replies] == [(f"c{number}", "ok") for number in range(50)]


def test_one_after_the_other_none_waits_for_its_deadline(
    context: Context, runtime: Path, server: CommandServer
) -> None:
    async def ask() -> list[str]:
        client = AsyncCommandClient(context, runtime, "capture")
        try:
            return [code(await client.send(CaptureSource(name="front"), 10.0)) for _ in range(50)]
        finally:
            client.close()

    assert asyncio.run(asyncio.wait_for(ask(), 10.0)) == ["ok"] * 50


def test_without_a_service_the_deadline_answers(context: Context, runtime: Path) -> None:
    async def ask() -> Reply:
        client = AsyncCommandClient(context, runtime, "capture")
        try:
            return await client.send(CapturePause(id="x"), 0.05)
        finally:
            client.close()

    assert code(asyncio.run(ask())) == "no-answer"


def test_who_is_cancelled_keeps_its_place_until_its_deadline(context: Context, runtime: Path) -> None:
    """What was sent may still be carried out: a page that asks and leaves again can't send without end."""

    async def ask() -> list[str]:
        client = AsyncCommandClient(context, runtime, "capture", max_waiting=1)
        try:
            leaving = asyncio.create_task(client.send(CapturePause(), 0.2))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            at_once = code(await client.send(CapturePause(), 5.0))
            while (later := code(await client.send(CapturePause(), 0.05))) == "busy":
                await asyncio.sleep(0.01)
            return [at_once, later]
        finally:
            client.close()

    assert asyncio.run(asyncio.wait_for(ask(), 30.0)) == ["busy", "no-answer"]
