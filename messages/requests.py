"""Commands between processes: request and reply with a deadline, answered once per id."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import zmq
from pydantic import ValidationError

from messages.bus import endpoint, new_socket, open_to_group, socket_path
from messages.commands import (
    MAX_COMMAND_BYTES,
    Command,
    CommandRefused,
    Reply,
    Result,
    addressee,
    parse_command,
)
from messages.message import encode

AnyCommand = TypeVar("AnyCommand", bound=Command)


class Later:
    """A handler's answer that is not known yet: returned by the handler, given once, in the same thread."""

    def __init__(self) -> None:
        self._deliver: Callable[[Result | CommandRefused], None] | None = None
        self._early: Result | CommandRefused | None = None

    def answer(self, result: Result) -> None:
        """It worked."""
        self._give(result)

    def refuse(self, code: str, message: str) -> None:
        """It did not."""
        self._give(CommandRefused(code, message))

    def _give(self, outcome: Result | CommandRefused) -> None:
        if self._deliver is None:
            self._early = outcome
        else:
            self._deliver(outcome)

    def _when_known(self, deliver: Callable[[Result | CommandRefused], None]) -> None:
        self._deliver = deliver
        if self._early is not None:
            deliver(self._early)


Handler = Callable[[AnyCommand], Result | Later | None]

HIGH_WATER = 1000
REMEMBERED_REPLIES = 1024
REMEMBERED_BYTES = 8 << 20


class CommandServer:
    """Takes the commands of one service: `handle` declares a handler, `serve` answers what has come."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path, service: str) -> None:
        self._service = service
        self._path = socket_path(runtime, service, "command")
        self._handlers: dict[str, Callable[[Command], Result | Later | None]] = {}
        self._answered: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._answered_bytes = 0
        self._awaited: dict[tuple[str, str], list[tuple[bytes, bytes]]] = {}
        self.socket = new_socket(context, zmq.ROUTER, HIGH_WATER, MAX_COMMAND_BYTES)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.socket.bind(endpoint(runtime, service, "command"))
        open_to_group(socket_path(runtime, service, "command"))

    def handle(self, cls: type[AnyCommand], handler: Handler[AnyCommand]) -> None:
        """Answer `cls` with what `handler` returns, or with the CommandRefused that it raises."""
        if addressee(cls.verb) != self._service:
            raise ValueError(f"{cls.verb} is not for {self._service}")
        self._handlers[cls.verb] = handler  # type: ignore[assignment]  # keyed by the very class

    def serve(self, limit: int = 16) -> int:
        """Answer up to `limit` waiting commands; returns how many. Call when `socket` is readable."""
        for served in range(limit):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return served
            if len(parts) == 5:
                peer, token, verb, deadline, payload = parts
                reply = self._answer(verb.decode(errors="replace"), deadline, payload, (peer, token))
                if reply is not None:
                    self.socket.send_multipart((peer, token, reply))
        return limit

    def _answer(self, verb: str, deadline: bytes, payload: bytes, asker: tuple[bytes, bytes]) -> bytes | None:
        if deadline.isdigit() and time.monotonic_ns() > int(deadline):
            return None  # nobody waits any more, and a late deed would surprise
        try:
            command = parse_command(verb, payload, datetime.now(UTC))
        except CommandRefused as refused:
            return encode(Reply.refused("", refused.code, refused.message))
        key = (verb, command.id)
        known = self._answered.get(key)
        if known is not None:
            return known
        if key in self._awaited:  # asked again before its answer is known
            self._awaited[key].append(asker)
            return None
        outcome = self._carry_out(command)
        if isinstance(outcome, Later):
            self._awaited[key] = [asker]
            outcome._when_known(lambda result: self._deliver(key, result))
            return None
        return self._remember(key, outcome)

    def _carry_out(self, command: Command) -> Result | CommandRefused | Later | None:
        handler = self._handlers.get(command.verb)
        if handler is None:
            return CommandRefused("unknown-verb", f"{self._service} does not take {command.verb}")
        try:
            return handler(command)
        except CommandRefused as refused:
            return refused

    def _deliver(self, key: tuple[str, str], outcome: Result | CommandRefused) -> None:
        askers = self._awaited.pop(key, [])
        if self.socket.closed:
            return
        reply = self._remember(key, outcome)
        for peer, token in askers:
            self.socket.send_multipart((peer, token, reply))

    def _remember(self, key: tuple[str, str], outcome: Result | CommandRefused | None) -> bytes:
        command_id = key[1]
        if isinstance(outcome, CommandRefused):
            reply = encode(Reply.refused(command_id, outcome.code, outcome.message))
        else:
            reply = encode(Reply.ok(command_id, outcome))
        self._answered[key] = reply
        self._answered_bytes += len(reply)
        while len(self._answered) > REMEMBERED_REPLIES or self._answered_bytes > REMEMBERED_BYTES:
            _, oldest = self._answered.popitem(last=False)
            self._answered_bytes -= len(oldest)
        return reply

    def close(self) -> None:
        """Close the socket and remove its file; while the service's lock is held."""
        self.socket.close()
        self._path.unlink(missing_ok=True)


class CommandClient:
    """Sends commands and waits for their answers. Not thread-safe; one per thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self._context = context
        self._runtime = runtime
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._tokens = 0

    def send(self, command: Command, deadline_s: float = 2.0) -> Reply:
        """The service's answer; where none came in time, an error reply with the code `no-answer`."""
        service = addressee(command.verb)
        socket = self._socket(service)
        self._tokens += 1
        token = str(self._tokens).encode()
        deadline = time.monotonic_ns() + int(deadline_s * 1e9)
        request = (token, command.verb.encode(), str(deadline).encode(), encode(command))
        try:
            socket.send_multipart(request, zmq.NOBLOCK)
        except zmq.Again:
            return self._no_answer(command, service, deadline_s)
        while (left_ms := (deadline - time.monotonic_ns()) // 1_000_000) > 0:
            if not socket.poll(left_ms):
                break
            came, *rest = socket.recv_multipart()
            if came == token and len(rest) == 1:  # else the late answer to an earlier request
                try:
                    return Reply.model_validate_json(rest[0]).model_copy(update={"id": command.id})
                except ValidationError:
                    return Reply.refused(
                        command.id, "malformed-reply", f"{service} answered something unreadable"
                    )
        return self._no_answer(command, service, deadline_s)

    def _socket(self, service: str) -> zmq.Socket[bytes]:
        if service not in self._sockets:
            socket = new_socket(self._context, zmq.DEALER, HIGH_WATER, MAX_COMMAND_BYTES)
            socket.connect(endpoint(self._runtime, service, "command"))
            self._sockets[service] = socket
        return self._sockets[service]

    def _no_answer(self, command: Command, service: str, deadline_s: float) -> Reply:
        self._sockets.pop(service).close()  # what still waits in it must not be delivered later
        return Reply.refused(
            command.id,
            "no-answer",
            f"{service} did not answer {command.verb} within {deadline_s:g} s; see `smartcar status`",
        )

    def close(self) -> None:
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
