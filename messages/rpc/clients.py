"""The asking side of commands between processes: for a command line, and for a loop.

    reply = CommandClient(context, runtime).send(CapturePause())
    callbacks.ask(CapturePause(), lambda reply: print(reply.status))

Every command is answered once: by its service, or by the client itself with `no-answer`, `busy` or
`malformed-reply`. A command that the service gets to see only after its deadline is not carried out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zmq
from pydantic import ValidationError

from messages.bus import endpoint, new_socket
from messages.command import MAX_COMMAND_BYTES, Command, Reply
from messages.errors import ErrorCode
from messages.message import encode

MAX_WAITING = 64
DEADLINE_S = 2.0


class Ask(Protocol):
    """Sends a command without waiting, and has its reply told once."""

    def __call__(
        self, command: Command, answered: Callable[[Reply], None], deadline_s: float = ...
    ) -> None: ...


@dataclass
class PendingRequest:
    """A command that waits for its answer until `deadline_ns` of CLOCK_MONOTONIC."""

    command: Command
    deadline_ns: int
    answered: Callable[[Reply], None]


class CallbackCommandClient:
    """Sends commands to one service without waiting. Not thread-safe.

    `answered` is called in the thread that calls `receive` and `expire`.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime: Path,
        service: str,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._service = service
        self._max_waiting = max_waiting
        self._pending: dict[bytes, PendingRequest] = {}
        self._tokens = 0
        self.socket = new_socket(context, zmq.DEALER, max_waiting, MAX_COMMAND_BYTES)
        self.socket.connect(endpoint(runtime, service, "command"))

    @property
    def waiting(self) -> int:
        """How many commands are unanswered."""
        return len(self._pending)

    def ask(
        self, command: Command, answered: Callable[[Reply], None], deadline_s: float = DEADLINE_S
    ) -> None:
        """Send it; `answered` is called by `receive` or `expire`, or at once where it can't be sent."""
        if command.service != self._service:
            raise ValueError(f"{command.verb} is not for {self._service}")
        if len(self._pending) >= self._max_waiting:
            sentence = f"{self._max_waiting} commands wait for {self._service} already. Try again."
            answered(Reply.refused(command.id, ErrorCode.BUSY, sentence))
            return
        self._tokens += 1
        token = str(self._tokens).encode()
        deadline_ns = time.monotonic_ns() + int(deadline_s * 1e9)
        request = (token, command.verb.encode(), str(deadline_ns).encode(), encode(command))
        try:
            self.socket.send_multipart(request, zmq.NOBLOCK)
        except zmq.Again:  # the service is gone and the queue to it full of what has expired
            answered(_no_answer(command))
            return
        self._pending[token] = PendingRequest(command, deadline_ns, answered)

    def receive(self) -> None:
        """Take the answers that have come. Call when `socket` is readable."""
        while True:
            try:
                token, *rest = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            pending = self._pending.pop(token, None)
            if pending is not None and len(rest) == 1:  # else an answer that came too late
                pending.answered(_reply(pending.command, rest[0]))

    def expire(self) -> None:
        """Answer what has waited past its deadline. Call a few times a second."""
        now = time.monotonic_ns()
        for token, pending in tuple(self._pending.items()):
            if now > pending.deadline_ns and self._pending.pop(token, None) is not None:
                pending.answered(_no_answer(pending.command))

    def close(self) -> None:
        """Forget all commands."""
        self._pending.clear()
        self.socket.close()


class CommandClient:
    """Sends commands to any service and waits for each answer. Not thread-safe; one per thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self._context = context
        self._runtime = runtime
        self._clients: dict[str, CallbackCommandClient] = {}

    def send(self, command: Command, deadline_s: float = DEADLINE_S) -> Reply:
        """The service's answer; where none came in time, an error reply with the code `no-answer`."""
        service = command.service
        if service not in self._clients:
            self._clients[service] = CallbackCommandClient(self._context, self._runtime, service)
        client, replies = self._clients[service], list[Reply]()
        deadline = time.monotonic() + deadline_s
        client.ask(command, replies.append, deadline_s)
        while not replies:
            client.socket.poll(max(0, int((deadline - time.monotonic()) * 1000) + 1))
            client.receive()
            client.expire()
        if (error := replies[0].error) is not None and error.code == ErrorCode.NO_ANSWER:
            self._clients.pop(service).close()  # what still waits in it must not be delivered later
        return replies[0]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()


def _reply(command: Command, payload: bytes) -> Reply:
    try:
        return Reply.model_validate_json(payload).model_copy(update={"id": command.id})
    except ValidationError:
        return Reply.refused(
            command.id,
            ErrorCode.MALFORMED_REPLY,
            f"{command.service} answered something unreadable. Is it of the same version of smartcar?",
        )


def _no_answer(command: Command) -> Reply:
    return Reply.refused(
        command.id,
        ErrorCode.NO_ANSWER,
        f"{command.service} did not answer {command.verb} in time. See `smartcar status`.",
    )
