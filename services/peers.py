"""The other services, as one service sees them: who is there, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import zmq

from messages.command import Command, Reply
from messages.health import Heartbeat
from messages.presence import Presence
from messages.rpc.clients import DEADLINE_S, CallbackCommandClient
from services.loop import Loop

EXPIRE_S = 0.1
"""Commands without an answer are looked at so often."""


class Peers:
    """What a service's head declares in `peers`, at work in its loop. `forwards`: it may ask anything."""

    def __init__(
        self,
        loop: Loop,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime: Path,
        declared: Mapping[str, tuple[type[Command], ...]],
        *,
        forwards: bool,
    ) -> None:
        self._loop, self._context, self._runtime = loop, context, runtime
        self._declared, self._forwards = declared, forwards
        self.presence = {name: Presence() for name in declared}
        self._clients: dict[str, CallbackCommandClient] = {}

    def heard(self, beat: Heartbeat) -> bool | None:
        """Take a heartbeat; returns whether the peer has come, or None where it is no peer's."""
        presence = self.presence.get(beat.source)
        return presence.heard(beat) if presence is not None else None

    def ask(
        self, command: Command, answered: Callable[[Reply], None], deadline_s: float = DEADLINE_S
    ) -> None:
        """Ask without waiting: `answered` is called once, in the loop. Raises TypeError if undeclared."""
        service = command.service
        if type(command) not in self._declared.get(service, ()) and not self._forwards:
            raise TypeError(f"no peer is declared that is asked for {command.verb}")
        if not self._clients:
            self._loop.every(EXPIRE_S, self._expire)
        if service not in self._clients:
            client = CallbackCommandClient(self._context, self._runtime, service)
            self._clients[service] = client
            self._loop.on_readable(client.socket, client.receive)
        self._clients[service].ask(command, answered, deadline_s)

    def _expire(self) -> None:
        for client in self._clients.values():
            client.expire()
