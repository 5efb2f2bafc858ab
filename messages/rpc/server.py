"""The answering side of commands between processes: in time or not at all, and once per id.

server = CommandServer(context, runtime, "capture")
server.handle(CapturePause, lambda command: None)
server.serve()  # whenever `server.socket` is readable
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq

from messages.bus import endpoint, new_socket, open_to_group, socket_path
from messages.command import MAX_COMMAND_BYTES, AnyCommand, Command, CommandRefused, Reply, Result, parse
from messages.errors import CannotStart, ErrorCode, UserError
from messages.message import encode

HIGH_WATER = 1000
REMEMBERED_REPLIES = 1024
REMEMBERED_BYTES = 8 << 20
_LONGEST_DEADLINE = 20
"""Digits of a deadline in nanoseconds; longer ones are none."""

log = logging.getLogger(__name__)


class DeferredReply:
    """A handler's answer that is not known yet: returned by the handler, given once, in the same thread."""

    def __init__(self) -> None:
        self._deliver: Callable[[Result | UserError], None] | None = None
        self._early: Result | UserError | None = None

    def answer(self, result: Result) -> None:
        """The command was carried out."""
        self._give(result)

    def refuse(self, code: ErrorCode | str, sentence: str, remedy: str = "") -> None:
        """The command was not carried out."""
        self._give(CommandRefused(code, sentence, remedy))

    def _give(self, outcome: Result | UserError) -> None:
        if self._deliver is None:
            self._early = outcome
        else:
            self._deliver(outcome)

    def _when_known(self, deliver: Callable[[Result | UserError], None]) -> None:
        self._deliver = deliver
        if self._early is not None:
            deliver(self._early)


Handler = Callable[[AnyCommand], Result | DeferredReply | None]
ItemFailed = Callable[[str, Exception], None]
"""Told of what raised at which kind of item, from within the `except` clause."""


def log_failure(what: str, _: Exception) -> None:
    """Log the exception that is being handled, with its traceback."""
    log.exception("%s failed", what)


class CommandServer:
    """Takes the commands of one service: `handle` declares a handler, `serve` answers what has come.

    A handler that raises ends its command, not the service: the asker gets the code of a UserError, or
    `internal_error`, and `item_failed` is told.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime: Path,
        service: str,
        item_failed: ItemFailed = log_failure,
    ) -> None:
        self._service = service
        self._item_failed = item_failed
        self._path = socket_path(runtime, service, "command")
        self._handlers: dict[str, tuple[type[Command], Callable[[Any], Result | DeferredReply | None]]] = {}
        self._answered: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._answered_bytes = 0
        self._awaited: dict[tuple[str, str], list[tuple[bytes, bytes]]] = {}
        self.socket = new_socket(context, zmq.ROUTER, HIGH_WATER, MAX_COMMAND_BYTES)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.socket.bind(endpoint(runtime, service, "command"))
        open_to_group(self._path)

    def handle(self, cls: type[AnyCommand], handler: Handler[AnyCommand]) -> None:
        """Answer `cls` with what `handler` returns, or with the UserError that it raises."""
        if cls.service != self._service:
            raise ValueError(f"{cls.verb} is not for {self._service}")
        self._handlers[cls.verb] = cls, handler

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
        if _is_over(deadline):
            return None  # nobody waits any more, and a late deed would surprise
        try:
            cls, handler = self._handler(verb)
            command = parse(cls, payload, datetime.now(UTC))
        except CommandRefused as refused:
            return encode(Reply.refused("", refused.code, refused.message))
        key = (verb, command.id)
        known = self._answered.get(key)
        if known is not None:
            return known
        if key in self._awaited:  # asked again before its answer is known
            self._awaited[key].append(asker)
            return None
        try:
            outcome = handler(command)
        except CannotStart:
            raise
        except UserError as refused:
            return self._remember(key, refused)
        except Exception as error:
            self._item_failed(verb, error)
            return self._remember(key, _internal_error(self._service, verb, error))
        if isinstance(outcome, DeferredReply):
            self._awaited[key] = [asker]
            outcome._when_known(lambda result: self._deliver(key, result))
            return None
        return self._remember(key, outcome)

    def _handler(self, verb: str) -> tuple[type[Command], Callable[[Any], Result | DeferredReply | None]]:
        try:
            return self._handlers[verb]
        except KeyError:
            raise CommandRefused(
                ErrorCode.UNKNOWN_VERB,
                f"{self._service} does not take {verb}.",
                f"It takes: {', '.join(self._handlers) or 'none'}.",
            ) from None

    def _deliver(self, key: tuple[str, str], outcome: Result | UserError) -> None:
        askers = self._awaited.pop(key, [])
        if self.socket.closed:
            return
        reply = self._remember(key, outcome)
        for peer, token in askers:
            self.socket.send_multipart((peer, token, reply))

    def _remember(self, key: tuple[str, str], outcome: Result | UserError | None) -> bytes:
        command_id = key[1]
        if isinstance(outcome, UserError):
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


def _is_over(deadline: bytes) -> bool:
    if not deadline.isdigit() or len(deadline) > _LONGEST_DEADLINE:
        return False
    return time.monotonic_ns() > int(deadline)


def _internal_error(service: str, verb: str, error: Exception) -> CommandRefused:
    return CommandRefused(
        ErrorCode.INTERNAL_ERROR,
        f"{service} failed at {verb} ({type(error).__name__}) and goes on.",
        "See its log; `smartcar doctor bundle` packs it for a report.",
    )
