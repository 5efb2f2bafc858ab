"""One connection to the broker, from its first packet to its last: a paho client on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from messages.command import MAX_COMMAND_BYTES
from messages.message import new_ulid
from services.bridge import connection_problem, paho_client
from services.bridge.connection_problem import ConnectionProblem
from services.config import Mqtt

FAREWELL_S = 2.0
MAX_PACKETS_IN_FLIGHT = 64
MAX_HEADER_BYTES = 4096
"""What a packet has besides its payload: topic, properties."""
MAX_UNREAD = 100
MAX_UNREAD_BYTES = 2 * MAX_COMMAND_BYTES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What the broker takes: QoS 1 messages unacknowledged at once, and bytes in one packet (0: no limit)."""

    in_flight: int = MAX_PACKETS_IN_FLIGHT
    packet_bytes: int = 0


class Connection:
    """Begins to connect when it is made; all that happens is put into `happened`, then `wake` is called.

    What happens, in pairs: (`up`, Limits), (`acknowledged`, (message id, code)), (`subscribed`, (message
    id, code)), (`message`, MQTTMessage), and once, last, (`ended`, ConnectionProblem).
    """

    def __init__(
        self,
        mqtt: Mqtt,
        client_id: str,
        will_topic: str,
        will: Callable[[str], bytes],
        wake: Callable[[], None],
    ) -> None:
        self.session_id = new_ulid()
        self.happened: deque[tuple[str, Any]] = deque()
        self.unread_dropped = 0
        self._mqtt = mqtt
        self._client_id = client_id
        self._will = (will_topic, will(self.session_id))
        self._wake = wake
        self._unread = 0
        self._unread_bytes = 0
        self._unread_lock = threading.Lock()
        self._client: paho.Client | None = None
        self._patterns: dict[int, str] = {}
        self._handles = 0
        self._window = 1
        self._queue: deque[tuple[int, tuple[str, bytes, int, bool, Properties | None]]] = deque()
        self._unacknowledged: dict[int, int] = {}
        self._answered = False
        self._ended: ConnectionProblem | None = None
        self._last_error = ""
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    # called by the session

    def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, correlation: bytes | None
    ) -> int | None:
        if self._client is None:
            return None
        properties = None
        if correlation is not None and self._mqtt.protocol == "5":
            properties = _properties(PacketTypes.PUBLISH)
            properties.CorrelationData = correlation
        self._handles += 1
        if qos == 0:
            self._client.publish(topic, payload, 0, retain, properties)
        else:
            self._queue.append((self._handles, (topic, payload, qos, retain, properties)))
            self._release()
        return self._handles

    def acknowledged(self, message_id: int) -> int | None:
        """Whose acknowledgement this is, as the handle that `publish` gave out; lets the next one go."""
        handle = self._unacknowledged.pop(message_id, None)
        self._release()
        return handle

    def _release(self) -> None:
        """The broker says how much it takes unacknowledged; one is left for the farewell."""
        while self._client is not None and self._queue and len(self._unacknowledged) < self._window:
            handle, message = self._queue.popleft()
            info = self._client.publish(*message)
            self._unacknowledged[info.mid] = handle  # where the connection has just broken, its end follows

    def subscribe(self, pattern: str, *, keep_retain_flag: bool) -> None:
        if self._client is None:
            return
        if self._mqtt.protocol == "5":
            options = SubscribeOptions(qos=1, retainAsPublished=keep_retain_flag)
            _, message_id = self._client.subscribe(pattern, options=options)
        else:
            _, message_id = self._client.subscribe(pattern, 1)
        if message_id is not None:
            self._patterns[message_id] = pattern

    def unsubscribe(self, pattern: str) -> None:
        if self._client is not None:
            self._client.unsubscribe(pattern)

    def pattern(self, message_id: int) -> str:
        """Which pattern the subscription with this id asked for; told once."""
        return self._patterns.pop(message_id, "")

    def was_read(self, message: paho.MQTTMessage) -> None:
        with self._unread_lock:
            self._unread -= 1
            self._unread_bytes -= len(message.payload)

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
        if self._client is not None and (sock := self._client.socket()) is not None:
            sock.close()

    # the network thread

    def _run(self) -> None:
        try:
            client = self._new_client()
            client.connect(
                self._mqtt.host, self._mqtt.port, self._mqtt.keepalive, properties=self._connect_properties()
            )
            self._client = client
            if self._leaving:
                return
            while client.loop(timeout=1.0) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                pass
        except Exception as error:  # whatever goes wrong is this attempt's end, not the service's
            if not isinstance(error, OSError | ConnectionProblem | UnicodeError):
                log.exception("the MQTT connection failed unexpectedly")
            self._ended = self._ended or connection_problem.from_error(error, self._mqtt)
        if self._ended is None:
            self._ended = (
                connection_problem.lost(self._mqtt)
                if self._answered
                else connection_problem.unanswered(self._mqtt, self._last_error)
            )
        self._say("ended", self._ended)

    def _new_client(self) -> paho.Client:
        """Raises ConnectionProblem for a password or a certificate that can't be used."""
        mqtt = self._mqtt
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if mqtt.protocol == "5" else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.will_set(*self._will, qos=1, retain=True)
        if mqtt.username:
            client.username_pw_set(mqtt.username, paho_client.password(mqtt.password_file))
        if mqtt.tls:
            client.tls_set_context(paho_client.tls_context(mqtt))
        client.max_inflight_messages_set(0)  # paho can't learn the broker's limit; `_release` keeps it
        # Else paho would write to the socket from whichever thread publishes, two at a time.
        client.on_socket_register_write = lambda *_: None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        return client

    def _connect_properties(self) -> Properties | None:
        if self._mqtt.protocol != "5":
            return None
        properties = _properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = MAX_COMMAND_BYTES + MAX_HEADER_BYTES
        return properties

    def _say(self, what: str, details: Any) -> None:
        self.happened.append((what, details))
        self._wake()

    def _on_connect(
        self, client: paho.Client, _: object, __: object, code: Any, properties: Properties | None
    ) -> None:
        self._answered = True
        if code.is_failure:
            self._ended = connection_problem.from_refusal(code.value, str(code), self._mqtt)
            return
        in_flight = min(MAX_PACKETS_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_PACKETS_IN_FLIGHT))
        self._window = max(1, in_flight - 1)
        self._say("up", Limits(in_flight, getattr(properties, "MaximumPacketSize", 0)))

    def _on_disconnect(self, _: object, __: object, flags: Any, code: Any, ___: object) -> None:
        if flags.is_disconnect_packet_from_server and self._ended is None:
            self._ended = connection_problem.from_disconnect(
                code.value, str(code), self._client_id, self._mqtt
            )

    def _on_publish(self, _: object, __: object, message_id: int, code: Any, ___: object) -> None:
        self._say("acknowledged", (message_id, code.value))

    def _on_subscribe(self, _: object, __: object, message_id: int, codes: list[Any], ___: object) -> None:
        for code in codes:
            self._say("subscribed", (message_id, code.value))

    def _on_message(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        with self._unread_lock:
            if self._unread >= MAX_UNREAD or self._unread_bytes + len(message.payload) > MAX_UNREAD_BYTES:
                self.unread_dropped += 1
                return
            self._unread += 1
            self._unread_bytes += len(message.payload)
        self._say("message", message)

    def _on_log(self, _: object, __: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._last_error = text.removeprefix("failed to receive on socket: ")


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho leaves it without types
