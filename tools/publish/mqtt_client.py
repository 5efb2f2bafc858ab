"""A connection to the broker for a command: publish and wait, subscribe and take what comes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any

from paho.mqtt.client import MQTTMessage

from messages.message import new_ulid
from messages.offers import ASK_TOPIC, ROOT
from services.bridge import connection_problem
from services.bridge.connection_problem import ConnectionProblem, RemedyNames
from services.bridge.paho_client import PahoClient
from services.bridge.reason_codes import is_refusal
from services.config import Mqtt
from tools.terminal.problems import Problem

PATIENCE_S = 15.0
"""How long the login may take."""
SILENT_S = 30.0
"""Nothing at all was heard for this long: the broker is gone. On a slow line much may take longer."""
TRIED_S = 3.0
"""What is retained has come by then, where it comes at all."""
IN_FLIGHT = 10
"""Messages unacknowledged at once; every broker takes that."""
OPTIONS = RemedyNames(
    change="give",
    address="--broker",
    host="--broker",
    port="--broker",
    use_tls="--broker mqtts://…",
    no_tls="mqtt://…",
    protocol="--protocol {}",
    username="--username",
    password_file="--password-file",
    ca_file="--ca-file",
    cert_file="--cert-file",
    key_file="--key-file",
)
"""On the command line a remedy is an option."""


class ConnectionLost(Problem):
    """The connection broke; what was not acknowledged may or may not have arrived."""


@dataclass(frozen=True)
class Received:
    """A message. `retained`: it stood there before we subscribed."""

    topic: str
    payload: bytes
    retained: bool


class MqttClient:
    """`with MqttClient.open(ways) as client`: a session that ends with the block, or with the connection.

    Not thread-safe. Methods raise ConnectionLost once the connection is gone.
    """

    def __init__(self, mqtt: Mqtt) -> None:
        """Connect. Raises ConnectionProblem where that fails."""
        self.mqtt = mqtt
        self._came: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._answered, self._gone = threading.Event(), threading.Event()
        self._refusal: ConnectionProblem | None = None
        self.packet_bytes: int | None = None
        """The largest packet that the broker takes, where it says so: MQTT 5 can."""
        self._codes: dict[int, int] = {}
        self._subscribed: dict[int, list[int]] = {}
        self._changed = threading.Condition()
        self._heard_at = time.monotonic()
        self._client = self._new_client()
        try:
            self._client.connect(mqtt.host, mqtt.port, mqtt.keepalive)
        except Exception as error:
            raise connection_problem.from_error(error, mqtt, OPTIONS) from error
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()
        if not self._answered.wait(PATIENCE_S) or self._refusal is not None:
            why = self._refusal or connection_problem.unanswered(mqtt, self._client.last_error, OPTIONS)
            self.close()
            raise why

    @classmethod
    def open(cls, ways: Sequence[Mqtt]) -> MqttClient:
        """The first of these ways that leads in. Raises Problem, with why the first did not."""
        first: ConnectionProblem | None = None
        for mqtt in (way for each in ways for way in each.ways):
            try:
                return cls(mqtt)
            except ConnectionProblem as error:
                first = first or error
        raise Problem(first.reason if first is not None else "no broker is named")

    def __enter__(self) -> MqttClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def lost(self) -> bool:
        return self._gone.is_set()

    def close(self) -> None:
        """Leave. Safe to call twice."""
        self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def subscribe(self, *patterns: str) -> None:
        """Ask for messages, and wait until the broker agrees. Raises Problem where it refuses."""
        self._alive()
        _, message_id = self._client.subscribe([(pattern, 1) for pattern in patterns])
        if message_id is None:
            raise ConnectionLost(f"The connection to {connection_problem.where(self.mqtt)} was lost.")
        self._wait(lambda: message_id in self._subscribed)
        for pattern, code in zip(patterns, self._subscribed.pop(message_id), strict=False):
            if is_refusal(code):
                raise Problem(
                    f"The broker does not let this user subscribe to {pattern} (MQTT reason {code}); "
                    f"allow it in the broker's ACL."
                )

    def publish(self, messages: Iterable[tuple[str, bytes]], *, retain: bool) -> int:
        """Publish with QoS 1, and wait until the broker has acknowledged all; returns how many.

        Raises Problem where it refuses one, which only MQTT 5 can tell.
        """
        waiting: dict[int, str] = {}
        count = 0
        for topic, payload in messages:
            self._alive()
            waiting[self._client.publish(topic, payload, 1, retain).mid] = topic
            count += 1
            if len(waiting) >= IN_FLIGHT:
                self._settle(waiting, IN_FLIGHT - 1)
        self._settle(waiting, 0)
        return count

    def received(self, timeout_s: float) -> Received | None:
        """The next message; None where none came in time."""
        try:
            return self._came.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            self._alive()
            return None

    def retained(self, marker: str, *patterns: str) -> Iterator[Received]:
        """What the broker retains there, to its end; what others publish meanwhile comes among it.

        `marker` is a topic of ours: brokers send what is retained before what comes later, so the list has
        come to its end with it. Raises Problem where it never does: a list cut short is no list.
        """
        self.subscribe(marker, *patterns)
        self.publish([(marker, b"")], retain=False)
        while (came := self.received(SILENT_S)) is not None:
            if came.topic == marker:
                return
            yield came
        raise Problem(
            f"The broker {connection_problem.where(self.mqtt)} did not say all that it retains: "
            f"nothing came for {SILENT_S:g} s; try again, or let this user publish on {marker} (its ACL)."
        )

    @cached_property
    def hands_out_by_wildcard(self) -> bool:
        """Whether what is retained comes to who subscribes by a pattern; with some brokers by topic alone."""
        below = f"{ROOT}looking/{new_ulid()}/"
        try:
            return self.comes_retained(below, f"{below}+")
        except Problem:
            return False  # this user may not try it, or a node has just gone

    def comes_retained(self, below: str, pattern: str) -> bool:
        """Whether what is retained on `<below>tried` comes to who subscribes to `pattern` later.

        Tried on a connection of its own, which a broker may close over it. Raises ConnectionLost, Problem.
        """
        with MqttClient.open([self.mqtt]) as other:
            other.publish([(f"{below}tried", b"-")], retain=True)
            try:
                other.subscribe(f"{below}end", pattern)
                other.publish([(f"{below}end", b"")], retain=False)
                while (came := other.received(TRIED_S)) is not None:
                    if came.retained or came.topic.endswith("/end"):
                        return came.retained
                return False
            finally:
                other.publish([(f"{below}tried", b"")], retain=True)

    def ask_cars(self) -> None:
        """Have all cars say how they are. Where this user may not ask, they say so in their own time."""
        try:
            self.publish([(ASK_TOPIC, b"")], retain=False)
        except ConnectionLost:
            raise
        except Problem:
            pass

    # waiting

    def _settle(self, waiting: dict[int, str], until: int) -> None:
        """Until no more than `until` are unacknowledged."""

        def settled() -> bool:
            for message_id in [each for each in waiting if each in self._codes]:
                code, topic = self._codes.pop(message_id), waiting.pop(message_id)
                if is_refusal(code):
                    raise Problem(
                        f"The broker does not let this user publish on {topic} (MQTT reason {code}); "
                        f"allow it in the broker's ACL, or see its limit on packets."
                    )
            return len(waiting) <= until

        self._wait(settled)

    def _wait(self, condition: Callable[[], bool]) -> None:
        began = time.monotonic()
        with self._changed:
            while not condition():
                self._alive()
                if time.monotonic() - max(began, self._heard_at) > SILENT_S:
                    raise ConnectionLost(
                        f"The broker {connection_problem.where(self.mqtt)} says nothing any more."
                    )
                self._changed.wait(0.2)

    def _alive(self) -> None:
        if self._gone.is_set():
            raise ConnectionLost(f"The connection to {connection_problem.where(self.mqtt)} was lost.")

    # the network thread

    def _run(self) -> None:
        try:
            self._client.run()
        except ConnectionProblem as problem:
            self._refusal = problem
        except OSError as error:
            self._client.last_error = str(error)
        finally:
            self._gone.set()
            self._answered.set()
            if self._refusal is None and not self._client.is_connected():
                self._refusal = connection_problem.unanswered(self.mqtt, self._client.last_error, OPTIONS)
            with self._changed:
                self._changed.notify_all()

    def _new_client(self) -> PahoClient:
        client = PahoClient(self.mqtt, f"smartcar-publish-{new_ulid()[-10:]}", OPTIONS)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, _: object, __: object, ___: object, code: Any, properties: Any) -> None:
        self.packet_bytes = getattr(properties, "MaximumPacketSize", None)
        if code.is_failure:
            self._refusal = connection_problem.from_refusal(code.value, str(code), self.mqtt, OPTIONS)
        self._answered.set()

    def _on_publish(self, _: object, __: object, message_id: int, code: Any, ___: object) -> None:
        with self._changed:
            self._heard_at = time.monotonic()
            self._codes[message_id] = code.value
            self._changed.notify_all()

    def _on_subscribe(self, _: object, __: object, message_id: int, codes: list[Any], ___: object) -> None:
        with self._changed:
            self._heard_at = time.monotonic()
            self._subscribed[message_id] = [code.value for code in codes]
            self._changed.notify_all()

    def _on_message(self, _: object, __: object, message: MQTTMessage) -> None:
        self._heard_at = time.monotonic()
        try:
            self._came.put(Received(message.topic, bytes(message.payload), bool(message.retain)))
        except UnicodeDecodeError:
            pass  # no topic of ours
