"""Commands sent without waiting: for a loop that has other things to do until the answer comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq
from pydantic import ValidationError

from messages.bus import endpoint, new_socket
from messages.command import Command, Reply
from messages.commands import MAX_COMMAND_BYTES, addressee
from messages.message import encode

MAX_WAITING = 64


@dataclass
class _Question:
    command: Command
    deadline_ns: int
    answered: Callable[[Reply], None]


class Asker:
    """Sends commands to one service. Not thread-safe; `answered` is called in the thread that calls us.

    Every question is answered once: by the service, or by ourselves with the codes `no-answer`, `busy` or
    `malformed-reply`, as CommandClient would.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path, service: str) -> None:
        self._service = service
        self._waiting: dict[bytes, _Question] = {}
        self._tokens = 0
        self.socket = new_socket(context, zmq.DEALER, MAX_WAITING, MAX_COMMAND_BYTES)
        self.socket.connect(endpoint(runtime, service, "command"))

    @property
    def waiting(self) -> int:
        """How many questions are unanswered."""
        return len(self._waiting)

    def ask(self, command: Command, answered: Callable[[Reply], None], deadline_s: float = 2.0) -> None:
        """Send it; `answered(reply)` is called by `receive` or `expire`, or at once where it can't be sent.

        A command that the service gets to see only after the deadline is not carried out.
        """
        if addressee(command.verb) != self._service:
            raise ValueError(f"{command.verb} is not for {self._service}")
        if len(self._waiting) >= MAX_WAITING:
            sentence = f"{MAX_WAITING} questions wait for {self._service} already"
            answered(Reply.refused(command.id, "busy", sentence))
            return
        self._tokens += 1
        token = str(self._tokens).encode()
        deadline_ns = time.monotonic_ns() + int(deadline_s * 1e9)
        request = (token, command.verb.encode(), str(deadline_ns).encode(), encode(command))
        try:
            self.socket.send_multipart(request, zmq.NOBLOCK)
        except zmq.Again:  # the service is gone and the queue to it full of what has expired
            answered(self._no_answer(command))
            return
        self._waiting[token] = _Question(command, deadline_ns, answered)

    def receive(self) -> None:
        """Take the answers that have come. Call when `socket` is readable."""
        while True:
            try:
                token, *rest = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            question = self._waiting.pop(token, None)
            if question is not None and len(rest) == 1:  # else an answer that came too late
                question.answered(self._read(question.command, rest[0]))

    def expire(self) -> None:
        """Answer what has waited past its deadline. Call a few times a second."""
        now = time.monotonic_ns()
        for token, question in tuple(self._waiting.items()):
            if now > question.deadline_ns and self._waiting.pop(token, None) is not None:
                question.answered(self._no_answer(question.command))

    def close(self) -> None:
        """Forget all questions."""
        self._waiting.clear()
        self.socket.close()

    def _read(self, command: Command, payload: bytes) -> Reply:
        try:
            return Reply.model_validate_json(payload).model_copy(update={"id": command.id})
        except ValidationError:
            return Reply.refused(
                command.id, "malformed-reply", f"{self._service} answered something unreadable"
            )

    def _no_answer(self, command: Command) -> Reply:
        return Reply.refused(
            command.id,
            "no-answer",
            f"{self._service} did not answer {command.verb} in time; see `smartcar status`",
        )
