"""Asks the running pad: `with pad_client(settings) as client: client.ask(PadUndo(), PadDone)`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import zmq

from messages.bus import Subscriber, socket_path
from messages.command import Command, Result
from messages.rpc.clients import CommandClient
from services.config import Settings
from tools.terminal.problems import Problem

AnyResult = TypeVar("AnyResult", bound=Result)

Context = zmq.Context[zmq.Socket[bytes]]

READY_WITHIN_S = 10.0


class PadClient:
    """Sends commands to the pad and waits for their answers."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.runtime = settings.paths.runtime
        self._client = CommandClient(context, self.runtime)

    def ask(self, command: Command, expected: type[AnyResult], deadline_s: float = 5.0) -> AnyResult:
        """The answer. Raises Problem where the pad refuses or does not answer."""
        reply = self._client.send(command, deadline_s)
        if reply.status != "ok":
            raise Problem(reply.error.message if reply.error else "refused, without a reason")
        return expected.model_validate(reply.data)

    def wait_until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Give a car that has just been started the time to read; returns in any case, after a while."""
        subscriber = Subscriber(self.context, self.runtime, ("health",), ("pad",))
        deadline = time.monotonic() + within_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                subscriber.state_socket.poll(math.ceil(left_s * 1000))
                if any(message.state == "ready" for _, message in subscriber.receive()):
                    return
        finally:
            subscriber.close()

    def close(self) -> None:
        self._client.close()


@contextmanager
def pad_client(settings: Settings) -> Iterator[PadClient]:
    """A client for the length of a block. Raises Problem where no pad runs here."""
    require_pad(settings)
    context: Context = zmq.Context()
    try:
        client = PadClient(context, settings)
        yield client
        client.close()
    finally:
        context.destroy(linger=0)


def require_pad(settings: Settings) -> None:
    """Raises Problem where no pad ever ran on this runtime folder, or it was stopped."""
    if not socket_path(settings.paths.runtime, "pad", "command").exists():
        raise Problem(
            f"The pad is not running on {settings.paths.runtime}; start the car with `smartcar up`, "
            f"or the pad alone with `smartcar run pad`."
        )
