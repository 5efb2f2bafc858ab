"""paho's MQTT client, set up for a broker of the settings: protocol, login, TLS, limits.

client = PahoClient(mqtt, "smartcar-mycar")
client.connect(mqtt.host, mqtt.port, mqtt.keepalive)
client.run()
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion

from messages.command import MAX_COMMAND_BYTES
from services.bridge.connection_problem import SETTINGS, ConnectionProblem, RemedyNames, where
from services.config import Mqtt

MAX_PACKET_BYTES = MAX_COMMAND_BYTES + 4096
"""The largest command, with its topic and properties. A broker that sends more is not listened to."""


class PahoClient(paho.Client):
    """One connection, made once: paho's own reconnecting and resending are off.

    All reading and writing happens in `run`, so other threads may publish and subscribe meanwhile. Raises
    ConnectionProblem where the password or a certificate can't be used.
    """

    def __init__(self, mqtt: Mqtt, client_id: str, names: RemedyNames = SETTINGS) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if mqtt.protocol == "5" else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self.last_error = ""
        """What paho logged last about a socket that failed."""
        self._mqtt = mqtt
        if mqtt.username:
            self.username_pw_set(mqtt.username, _password(mqtt.password_file, names))
        if mqtt.tls:
            self.tls_set_context(_tls_context(mqtt, names))
        self.max_inflight_messages_set(0)  # the broker's limit is kept by who publishes
        # Else paho would write to the socket from whichever thread publishes, two at a time.
        self.on_socket_register_write = lambda *_: None
        self.on_socket_open = _send_at_once
        self.on_log = self._note_error

    def run(self, check: Callable[[], None] = lambda: None) -> None:
        """Read and write until the connection ends; `check` is called about once a second.

        Raises OSError, or ConnectionProblem for a packet that is too large, and what `check` raises.
        """
        try:
            while self.loop(timeout=1.0) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                check()
        finally:
            connection = self.socket()
            if connection is not None:
                connection.close()

    def _sock_recv(self, bufsize: int) -> bytes:
        """paho asks for the whole rest of a packet: the place to refuse it before its first byte is kept."""
        if bufsize > MAX_PACKET_BYTES:
            raise ConnectionProblem(
                f"The broker {where(self._mqtt)} sent a packet of {bufsize} bytes, {MAX_PACKET_BYTES} are "
                f"allowed; limit the size of messages at the broker."
            )
        received: bytes = super()._sock_recv(bufsize)
        return received

    def _note_error(self, _: object, __: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self.last_error = text.removeprefix("failed to receive on socket: ")


def _send_at_once(_client: object, _data: object, connection: Any) -> None:
    """Else the kernel keeps a small packet back until the one before it is acknowledged: up to 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _password(path: Path | None, names: RemedyNames) -> str | None:
    """The first line of the file."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConnectionProblem(
            f"The password file {path} can't be read ({why}); correct {names.password_file}, "
            f"or let this service read it.",
            lasting=True,
        ) from error
    return text.partition("\n")[0].rstrip("\r")


def _tls_context(mqtt: Mqtt, names: RemedyNames) -> ssl.SSLContext:
    """A context that checks the broker's certificate and name."""
    try:
        context = trusting(mqtt.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConnectionProblem(
            f"{names.ca_file} {mqtt.ca_file} can't be used ({_why(error)}); it must hold PEM certificates.",
            lasting=True,
        ) from error
    if mqtt.cert_file is not None:
        try:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionProblem(
                f"{names.cert_file} {mqtt.cert_file} and {names.key_file} {mqtt.key_file} can't be used "
                f"({_why(error)}); they must be a PEM certificate and its key, without a passphrase.",
                lasting=True,
            ) from error
    return context


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts this authority, or whom the system trusts. Raises OSError, ssl.SSLError.

    Python 3.13 wants an authority to name its key's usage, which those made after Mosquitto's manual don't.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _why(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
