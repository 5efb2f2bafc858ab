"""The door for commands from MQTT: who may come in, how many, and where the answer goes."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import zmq

from messages.commands import COMMANDS, Command, CommandRefused, Reply, addressee, parse_command
from messages.message import encode
from messages.requests import CommandClient
from services.bridge.documents import COMMAND, REPLY
from services.metrics import Metrics

DEADLINE_S = 5.0
WAITING = 32
"""Commands that wait for one service at a time."""
BURST = 20
PER_SECOND = 10.0
REMEMBERED = 256
REMEMBERED_BYTES = 4 << 20
_MAX_TOPIC = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where an answer goes: a topic below the car's prefix, and what tells the asker which one it is."""

    topic: str
    correlation: bytes | None = None


class Answer(Protocol):
    """Publishes a reply."""

    def __call__(self, address: Address, reply: Reply) -> None: ...


class Incoming(Protocol):
    """What is looked at in a message of paho's."""

    @property
    def topic(self) -> str: ...

    payload: Any
    retain: bool
    properties: Any


class TokenBucket:
    """Lets `burst` through at once and `per_second` on end."""

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._tokens, self._filled = float(burst), clock()

    def take(self) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class CommandGateway:
    """Checks commands in the loop, hands them to their services on threads, answers in the loop.

    `prefix` is the car's (`smartcar/<car>/`), `taken` the verbs that the configuration lets in. `answer` is
    called in the loop; `call_soon` brings replies there.
    """

    def __init__(
        self,
        runtime: Path,
        prefix: str,
        taken: Iterable[str],
        answer: Answer,
        call_soon: Callable[[Callable[[], None]], None],
        metrics: Metrics,
    ) -> None:
        # A context of their own, which can be ended under the threads' sockets without closing them.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._runtime = runtime
        self._prefix = prefix
        self._taken = frozenset(taken)
        self._answer = answer
        self._call_soon = call_soon
        self._metrics = metrics
        self._waiting: dict[tuple[str, str], list[Address]] = {}
        self._answers: OrderedDict[tuple[str, str], Reply] = OrderedDict()
        self._answers_bytes = 0
        self._couriers: dict[str, _Courier] = {}
        self._let_in = TokenBucket(BURST, PER_SECOND)
        self._let_know = TokenBucket(BURST, PER_SECOND)

    @property
    def pattern(self) -> str:
        """What to subscribe to."""
        return f"{self._prefix}{COMMAND}/+/+"

    def handle(self, message: Incoming) -> None:
        """A message came on `pattern`."""
        if len(message.topic) > _MAX_TOPIC:
            self._metrics.count("refused.malformed")
            return
        _, service, name = message.topic.removeprefix(self._prefix).split("/")
        verb = f"{service}.{name}"
        address = self._address(f"{REPLY}/{service}/{name}", message.properties)
        payload = bytes(message.payload)
        if not self._let_in.take():
            self._metrics.count("refused.rate-limited")
            if self._let_know.take():
                reply = Reply.refused(
                    _id_in(payload), "rate-limited", f"more than {PER_SECOND:g} commands a second came; wait"
                )
                self._answer(address, reply)
            return
        try:
            command = self._check(verb, payload, retained=message.retain, topic=message.topic)
        except CommandRefused as refused:
            self._refuse(address, Reply.refused(_id_in(payload), refused.code, refused.message))
            return
        self._forward(command, address)

    def close(self) -> None:
        """End the threads; what still waits is not done."""
        for courier in self._couriers.values():
            courier.close()
        self._context.term()  # interrupts whoever waits for an answer

    def _check(self, verb: str, payload: bytes, *, retained: bool, topic: str) -> Command:
        if retained:
            raise CommandRefused(
                "retained",
                f"a retained command would be done again at every connection; "
                f"clear it (an empty retained message on {topic}) and send it without the retain flag",
            )
        if verb in COMMANDS and COMMANDS[verb].local:
            raise CommandRefused("not-allowed", f"{verb} is taken at the car alone, not from MQTT")
        if verb in COMMANDS and verb not in self._taken:
            raise CommandRefused(
                "not-allowed", f"{verb} is not taken from MQTT here; add it to mqtt.commands to allow it"
            )
        return parse_command(verb, payload, datetime.now(UTC))

    def _forward(self, command: Command, address: Address) -> None:
        key = (command.verb, command.id)
        if key in self._answers:
            self._metrics.count("repeated")
            self._answer(address, self._answers[key])
            return
        if key in self._waiting:  # on its way: one deed, its answer to all
            self._metrics.count("repeated")
            self._waiting[key].append(address)
            return
        service = addressee(command.verb)
        courier = self._couriers.get(service)
        if courier is None:
            courier = _Courier(self._context, self._runtime, service, self._delivered)
            self._couriers[service] = courier
        if not courier.take(command):
            self._refuse(
                address, Reply.refused(command.id, "busy", f"{WAITING} commands wait for {service} already")
            )
            return
        self._metrics.count("commands")
        self._waiting[key] = [address]

    def _delivered(self, command: Command, reply: Reply) -> None:
        """In the courier's thread."""
        self._call_soon(lambda: self._answered(command, reply))

    def _answered(self, command: Command, reply: Reply) -> None:
        key = (command.verb, command.id)
        for address in self._waiting.pop(key, ()):
            self._answer(address, reply)
        if reply.error is not None and reply.error.code == "no-answer":
            return  # it may be tried again
        self._answers[key] = reply
        self._answers_bytes += len(encode(reply))
        while len(self._answers) > REMEMBERED or self._answers_bytes > REMEMBERED_BYTES:
            _, oldest = self._answers.popitem(last=False)
            self._answers_bytes -= len(encode(oldest))

    def _refuse(self, address: Address, reply: Reply) -> None:
        code = reply.error.code if reply.error else ""
        self._metrics.count(f"refused.{code}")
        self._answer(address, reply)

    def _address(self, default: str, properties: Any) -> Address:
        wanted = getattr(properties, "ResponseTopic", None)
        correlation = getattr(properties, "CorrelationData", None)
        allowed = f"{self._prefix}{REPLY}/"
        if isinstance(wanted, str) and wanted.startswith(allowed) and _plain(wanted):
            return Address(wanted.removeprefix(self._prefix), correlation)
        return Address(default, correlation)


class _Courier:
    """Takes commands to one service, one after the other; a service that is slow or gone delays no other."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime: Path,
        service: str,
        delivered: Callable[[Command, Reply], None],
    ) -> None:
        self._context = context
        self._runtime = runtime
        self._service = service
        self._delivered = delivered
        self._waiting: queue.Queue[tuple[Command, float] | None] = queue.Queue(WAITING)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"to {service}", daemon=True)
        self._thread.start()

    def take(self, command: Command) -> bool:
        """False where too many wait already."""
        try:
            self._waiting.put_nowait((command, time.monotonic() + DEADLINE_S))
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        self._closing = True
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            pass  # it looks at the flag

    def _run(self) -> None:
        client = CommandClient(self._context, self._runtime)
        try:
            while not self._closing:
                waiting = self._waiting.get()
                if waiting is None:
                    return
                command, deadline = waiting
                self._delivered(command, self._send(client, command, deadline - time.monotonic()))
        except zmq.ZMQError:
            pass  # the context has gone: the service ends
        finally:
            client.close()

    def _send(self, client: CommandClient, command: Command, left_s: float) -> Reply:
        if left_s <= 0:
            return Reply.refused(
                command.id,
                "no-answer",
                f"{self._service} was too busy to take {command.verb} within {DEADLINE_S:g} s",
            )
        if command.expires_at is not None and command.expires_at <= datetime.now(UTC):
            return Reply.refused(command.id, "expired", f"{command.verb} expired while it waited")
        return client.send(command, round(left_s, 1))


def _id_in(payload: bytes) -> str:
    """The id in something that may be no command at all, so that the asker can tell which was refused."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    found = content.get("id") if isinstance(content, dict) else None
    return found[:64] if isinstance(found, str) else ""


def _plain(topic: str) -> bool:
    return len(topic) <= _MAX_TOPIC and not set(topic) & set("+#\0")
