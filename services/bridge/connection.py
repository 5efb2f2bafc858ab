"""One connection to the broker, from its first packet to its last: a paho client on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from messages.command import MAX_COMMAND_BYTES
from services.bridge import connection_problem, reason_codes
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.paho_client import MAX_PACKET_BYTES, PahoClient
from services.config import Mqtt

FAREWELL_S = 2.0
UNANSWERED_S = 30.0
"""A broker that leaves what was sent first unanswered for so long is taken for broken."""
MAX_PACKETS_IN_FLIGHT = 64
MAX_UNREAD = 100
MAX_UNREAD_BYTES = 2 * MAX_COMMAND_BYTES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BrokerLimits:
    """What the broker takes: QoS 1 messages unacknowledged at once, and bytes in one packet (0: no limit)."""

    in_flight: int = MAX_PACKETS_IN_FLIGHT
    packet_bytes: int = 0


class ConnectionListener(Protocol):
    """Whom a connection tells what happened, in the thread that calls `tell_next`."""

    def connected(self, limits: BrokerLimits) -> None: ...

    def acknowledged(self, handle: int, code: int) -> None: ...

    def subscription_answered(self, pattern: str, code: int) -> None: ...

    def message_came(self, message: MQTTMessage) -> None: ...

    def ended(self, why: ConnectionProblem) -> None: ...


class Connection:
    """Begins to connect when it is made; `wake` is called in the network thread when there is news to tell.

    Belongs to one thread, but for what is marked as the network thread's. `will` is what the broker is to
    publish, retained, should the connection break; an empty one leaves nothing.
    """

    def __init__(self, mqtt: Mqtt, client_id: str, will: tuple[str, bytes], wake: Callable[[], None]) -> None:
        self.unread_dropped = 0
        self._mqtt = mqtt
        self._client_id = client_id
        self._will = will
        self._wake = wake
        self._happened: deque[Callable[[ConnectionListener], None]] = deque()
        self._unread = 0
        self._unread_bytes = 0
        self._unread_lock = threading.Lock()
        self._client: PahoClient | None = None
        self._handles = 0
        self._window = 1
        self._queue: deque[tuple[int, tuple[str, bytes, int, bool, Properties | None]]] = deque()
        self._unanswered: dict[int, int | str] = {}
        """By message id, oldest first: the handle of a message, or the pattern of a subscription."""
        self._waiting_since: float | None = None
        self._network_is_slow = False
        self._accepted = False
        self._why_ended: ConnectionProblem | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def tell_next(self, listener: ConnectionListener) -> bool:
        """Tell the next thing that has happened; False where nothing has. The connection's end comes last."""
        if not self._happened:
            return False
        self._happened.popleft()(listener)
        return True

    def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, correlation: bytes = b""
    ) -> int | None:
        """Send a message; returns the handle of its acknowledgement, or None where there is no connection."""
        if self._client is None:
            return None
        properties = None
        if self._mqtt.protocol == "5" and correlation:  # rumqttd drops 3.1.1 clients at any property
            properties = _properties(PacketTypes.PUBLISH)
            properties.CorrelationData = correlation
        self._handles += 1
        if qos == 0:
            self._client.publish(topic, payload, 0, retain, properties)
        else:
            self._queue.append((self._handles, (topic, payload, qos, retain, properties)))
            self._release()
        return self._handles

    def subscribe(self, pattern: str, *, keep_retain_flag: bool = False) -> None:
        """Ask for messages; the answer comes as `subscription_answered`.

        `keep_retain_flag`: also on messages that are passed on as they come, which only MQTT 5 can.
        """
        if self._client is None:
            return
        if self._mqtt.protocol == "5":
            options = SubscribeOptions(qos=1, retainAsPublished=keep_retain_flag)
            _, message_id = self._client.subscribe(pattern, options=options)
        else:
            _, message_id = self._client.subscribe(pattern, 1)
        if message_id is not None:
            self._expect_answer(message_id, pattern)

    def unsubscribe(self, pattern: str) -> None:
        """Ask for no more of these."""
        if self._client is not None:
            self._client.unsubscribe(pattern)

    def farewell(self, topic: str, last_words: bytes) -> None:
        """Publish `last_words`, retained, and leave; waits for the broker, but not for long."""
        if self._client is not None:
            info = self._client.publish(topic, last_words, qos=1, retain=True)
            try:
                info.wait_for_publish(FAREWELL_S)
            except (RuntimeError, ValueError):
                pass  # the connection has just gone
        self.leave()

    def leave(self) -> None:
        """Disconnect so that the broker forgets the will; waits for it, but not for long."""
        self._leaving = True
        if self._client is not None:  # else it is still connecting: no will was left yet
            self._client.disconnect()
            self._thread.join(FAREWELL_S)

    def break_off(self) -> None:
        """Close the socket without disconnecting, so that the broker publishes the will."""
        self._leaving = True
        if self._client is not None and (socket := self._client.socket()) is not None:
            socket.close()

    def _release(self) -> None:
        """The broker says how much it takes unacknowledged; one is left for the farewell."""
        while self._client is not None and self._queue and len(self._unanswered) < self._window:
            handle, message = self._queue.popleft()
            info = self._client.publish(*message)  # where the connection has just broken, its end follows
            self._expect_answer(info.mid, handle)

    def _expect_answer(self, message_id: int, asked: int | str) -> None:
        if not self._unanswered:
            self._waiting_since = time.monotonic()
        self._unanswered[message_id] = asked

    def _answered(self, message_id: int) -> None:
        """The wait for the oldest of what is left begins anew where the oldest was answered."""
        was_oldest = message_id == next(iter(self._unanswered))
        del self._unanswered[message_id]
        if was_oldest:
            self._waiting_since = time.monotonic() if self._unanswered else None
        self._release()

    # told to the listener

    def _tell_acknowledged(self, listener: ConnectionListener, message_id: int, code: int) -> None:
        handle = self._unanswered.get(message_id)
        if isinstance(handle, int):  # else the broker answers what it was not asked
            self._answered(message_id)
            listener.acknowledged(handle, code)

    def _tell_subscribed(self, listener: ConnectionListener, message_id: int, code: int) -> None:
        pattern = self._unanswered.get(message_id)
        if isinstance(pattern, str):
            self._answered(message_id)
            listener.subscription_answered(pattern, code)

    def _tell_message(self, listener: ConnectionListener, message: MQTTMessage) -> None:
        with self._unread_lock:
            self._unread -= 1
            self._unread_bytes -= len(message.payload)
        listener.message_came(message)

    # the network thread

    def _run(self) -> None:
        error: Exception | None = None
        try:
            client = self._new_client()
            client.connect(
                self._mqtt.host, self._mqtt.port, self._mqtt.keepalive, properties=self._connect_properties()
            )
            self._client = client
            if not self._leaving:
                client.run(self._check)
        except Exception as raised:  # whatever goes wrong is this attempt's end, not the service's
            error = raised
            if not isinstance(error, OSError | ConnectionProblem | UnicodeError):
                log.exception("the MQTT connection failed unexpectedly")
        why = self._why_ended or self._explain(error)
        self._tell(lambda listener: listener.ended(why))

    def _explain(self, error: Exception | None) -> ConnectionProblem:
        if error is not None:
            return connection_problem.from_error(error, self._mqtt)
        if self._accepted:
            return connection_problem.lost(self._mqtt)
        return connection_problem.unanswered(self._mqtt, self._client.last_error if self._client else "")

    def _check(self) -> None:
        """Raises ConnectionProblem for a broker that reads on but answers nothing."""
        since, was_slow = self._waiting_since, self._network_is_slow
        self._network_is_slow = self._client is not None and self._client.want_write()
        if since is None:
            return
        if self._network_is_slow and was_slow:  # not just a ping: not all has left yet
            self._waiting_since = time.monotonic()
        elif time.monotonic() - since > UNANSWERED_S:
            raise connection_problem.acknowledges_nothing(self._mqtt, UNANSWERED_S)

    def _new_client(self) -> PahoClient:
        """Raises ConnectionProblem for a password or a certificate that can't be used."""
        client = PahoClient(self._mqtt, self._client_id)
        client.will_set(*self._will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connect_properties(self) -> Properties | None:
        if self._mqtt.protocol != "5":
            return None
        properties = _properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        return properties

    def _tell(self, what: Callable[[ConnectionListener], None]) -> None:
        self._happened.append(what)
        self._wake()

    def _on_connect(self, _: object, __: object, ___: object, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._why_ended = connection_problem.from_refusal(code.value, str(code), self._mqtt)
            return
        self._accepted = True
        in_flight = min(MAX_PACKETS_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_PACKETS_IN_FLIGHT))
        self._window = max(1, in_flight - 1)
        limits = BrokerLimits(in_flight, getattr(properties, "MaximumPacketSize", 0))
        self._tell(lambda listener: listener.connected(limits))

    def _on_disconnect(self, _: object, __: object, flags: Any, code: Any, ___: object) -> None:
        if flags.is_disconnect_packet_from_server and self._why_ended is None:
            self._why_ended = connection_problem.from_disconnect(
                code.value, str(code), self._client_id, self._mqtt
            )

    def _on_publish(self, _: object, __: object, message_id: int, code: Any, ___: object) -> None:
        value: int = code.value
        self._tell(lambda listener: self._tell_acknowledged(listener, message_id, value))

    def _on_subscribe(self, _: object, __: object, message_id: int, codes: list[Any], ___: object) -> None:
        value: int = codes[0].value if codes else reason_codes.FIRST_REFUSAL
        self._tell(lambda listener: self._tell_subscribed(listener, message_id, value))

    def _on_message(self, _: object, __: object, message: MQTTMessage) -> None:
        with self._unread_lock:
            if self._unread >= MAX_UNREAD or self._unread_bytes + len(message.payload) > MAX_UNREAD_BYTES:
                self.unread_dropped += 1
                return
            self._unread += 1
            self._unread_bytes += len(message.payload)
        self._tell(lambda listener: self._tell_message(listener, message))


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho leaves it without types
