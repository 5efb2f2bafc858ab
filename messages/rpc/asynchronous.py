"""The asking side of commands between processes, for asyncio.

reply = await AsyncCommandClient(context, runtime, "capture").send(CapturePause())
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import zmq

from messages.command import Command, Reply
from messages.rpc.clients import DEADLINE_S, MAX_WAITING, CallbackCommandClient


class AsyncCommandClient:
    """Sends commands to one service from an asyncio loop, in which it is made, used and closed."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime: Path,
        service: str,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = CallbackCommandClient(context, runtime, service, max_waiting)
        self._descriptor = self._client.socket.fileno()
        self._loop.add_reader(self._descriptor, self._client.receive)

    async def send(self, command: Command, deadline_s: float = DEADLINE_S) -> Reply:
        """The service's answer. One that is cancelled still counts among the waiting until its deadline."""
        future: asyncio.Future[Reply] = self._loop.create_future()

        def answered(reply: Reply) -> None:
            if not future.done():  # else nobody waits any more
                future.set_result(reply)

        self._client.ask(command, answered, deadline_s)
        # The descriptor tells of changes only, and sending may have swallowed the news of an answer.
        self._client.receive()
        timer = self._loop.call_later(deadline_s + 0.001, self._client.expire)
        try:
            return await future
        finally:
            if not future.cancelled():
                timer.cancel()

    def close(self) -> None:
        """Forget all commands."""
        self._loop.remove_reader(self._descriptor)
        self._client.close()
