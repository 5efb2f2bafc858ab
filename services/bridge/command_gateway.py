"""Commands from MQTT: which are let in, how many, and where each answer goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paho.mqtt.client import MQTTMessage

from messages.command import COMMANDS, Command, CommandRefused, Door, Reply, parse_command, verbs
from messages.errors import ErrorCode
from messages.rpc.clients import Ask
from services.bridge.documents import COMMAND, REPLY, is_topic
from services.bridge.rate_limit import TokenBucket
from services.metrics import Metrics

DEADLINE_S = 5.0
BURST = 20
PER_SECOND = 10.0
_ID = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True)
class ReplyAddress:
    """Where an answer goes: a topic below the car's prefix, and what tells the asker which one it is."""

    topic: str
    correlation: bytes = b""


class CommandGateway:
    """Checks each command, hands it to its service, and has the answer published.

    `prefix` is the car's (`smartcar/<car>/`), `allowed` the verbs that the settings let in. A service answers
    an id once, so a command that comes twice is done once.
    """

    def __init__(
        self,
        prefix: str,
        allowed: Iterable[str],
        ask: Ask,
        answer: Callable[[ReplyAddress, Reply], None],
        metrics: Metrics,
    ) -> None:
        self.pattern = f"{prefix}{COMMAND}/+/+"
        """What to subscribe to."""
        self._prefix = prefix
        self._allowed = frozenset(allowed)
        self._ask = ask
        self._answer = answer
        self._metrics = metrics
        self._commands = TokenBucket(BURST, PER_SECOND)
        self._complaints = TokenBucket(BURST, PER_SECOND)

    def handle(self, message: MQTTMessage) -> None:
        """Take a message that came below `cmd/`. Whatever it is, it is answered or counted, and no more."""
        levels = message.topic.removeprefix(self._prefix).split("/")
        if len(levels) != 3 or not is_topic(message.topic):
            self._metrics.count(f"refused.{ErrorCode.MALFORMED}")
            return
        _, service, name = levels
        payload = bytes(message.payload)
        address = self._reply_address(f"{REPLY}/{service}/{name}", message.properties)
        try:
            if self._commands.take():
                self._check_retained(message)
                command = self._parse(f"{service}.{name}", payload)
            elif self._complaints.take():
                raise CommandRefused(
                    ErrorCode.RATE_LIMITED, f"More than {PER_SECOND:g} commands a second came.", "Wait."
                )
            else:
                self._metrics.count(f"refused.{ErrorCode.RATE_LIMITED}")
                return
        except CommandRefused as refused:
            self._metrics.count(f"refused.{refused.code}")
            self._answer(address, Reply.refused(_id_in(payload), refused.code, refused.message))
            return
        self._metrics.count("commands")
        self._ask(command, lambda reply: self._answer(address, reply), DEADLINE_S)

    def _check_retained(self, message: MQTTMessage) -> None:
        if message.retain:
            raise CommandRefused(
                ErrorCode.RETAINED,
                "A retained command would be done again at every connection.",
                f"Clear it (an empty retained message on {message.topic}) and send it without the "
                f"retain flag.",
            )

    def _parse(self, verb: str, payload: bytes) -> Command:
        if verb in COMMANDS and verb not in verbs(Door.MQTT, Door.MQTT_OPT_IN):
            raise CommandRefused(ErrorCode.NOT_ALLOWED, f"{verb} is taken at the car alone, not from MQTT.")
        if verb in COMMANDS and verb not in self._allowed:
            raise CommandRefused(
                ErrorCode.NOT_ALLOWED,
                f"{verb} is not taken from MQTT here.",
                "Add it to mqtt.commands to allow it.",
            )
        return parse_command(verb, payload, datetime.now(UTC))

    def _reply_address(self, default: str, properties: Any) -> ReplyAddress:
        """Where the asker wants its answer, if that is below this car's replies; else `default`."""
        wanted = getattr(properties, "ResponseTopic", None)
        correlation = getattr(properties, "CorrelationData", b"")
        below = f"{self._prefix}{REPLY}/"
        if isinstance(wanted, str) and wanted.startswith(below) and is_topic(wanted):
            return ReplyAddress(wanted.removeprefix(self._prefix), correlation)
        return ReplyAddress(default, correlation)


def _id_in(payload: bytes) -> str:
    """The id in something that may be no command at all, so that the asker can tell which was refused."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    found = content.get("id") if isinstance(content, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else ""
