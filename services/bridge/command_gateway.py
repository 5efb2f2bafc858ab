"""The door for commands from MQTT: who may come in, how many, and where the answer goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from messages.command import COMMANDS, Command, CommandRefused, Door, Reply, parse_command, verbs
from messages.errors import ErrorCode
from messages.rpc.clients import Ask
from services.bridge.documents import COMMAND, REPLY
from services.metrics import Metrics

DEADLINE_S = 5.0
BURST = 20
PER_SECOND = 10.0
_MAX_TOPIC = 256


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
    """Checks commands, hands them to their services, and publishes the answers; all in the loop.

    `prefix` is the car's (`smartcar/<car>/`), `taken` the verbs that the configuration lets in.
    """

    def __init__(self, prefix: str, taken: Iterable[str], ask: Ask, answer: Answer, metrics: Metrics) -> None:
        self._prefix = prefix
        self._taken = frozenset(taken)
        self._ask = ask
        self._answer = answer
        self._metrics = metrics
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

    def _check(self, verb: str, payload: bytes, *, retained: bool, topic: str) -> Command:
        if retained:
            raise CommandRefused(
                "retained",
                f"a retained command would be done again at every connection; "
                f"clear it (an empty retained message on {topic}) and send it without the retain flag",
            )
        if verb in COMMANDS and verb not in verbs(Door.MQTT, Door.MQTT_OPT_IN):
            raise CommandRefused(ErrorCode.NOT_ALLOWED, f"{verb} is taken at the car alone, not from MQTT.")
        if verb in COMMANDS and verb not in self._taken:
            raise CommandRefused(
                "not-allowed", f"{verb} is not taken from MQTT here; add it to mqtt.commands to allow it"
            )
        return parse_command(verb, payload, datetime.now(UTC))

    def _forward(self, command: Command, address: Address) -> None:
        """The service remembers what it has answered: a command that came twice is done once."""
        self._metrics.count("commands")
        self._ask(command, lambda reply: self._answered(address, reply), DEADLINE_S)

    def _answered(self, address: Address, reply: Reply) -> None:
        if reply.error is not None and reply.error.code == ErrorCode.BUSY:
            self._metrics.count(f"refused.{ErrorCode.BUSY}")
        self._answer(address, reply)

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
