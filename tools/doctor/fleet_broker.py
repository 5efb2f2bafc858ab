"""What publishing to cars and listing them needs of a broker, tried below the car's own prefix."""

from __future__ import annotations

import time
from collections.abc import Iterator

from messages.message import new_ulid
from messages.offers import MAX_CHUNK_BYTES
from services.bridge.connection_problem import where
from services.bridge.paho_client import PahoClient
from services.config import Mqtt
from tools.doctor.finding import Finding, warning
from tools.publish.mqtt_client import MqttClient
from tools.publish.publication import HEADER_BYTES
from tools.terminal.problems import Problem

COMES_WITHIN_S = 4.0


def missing(mqtt: Mqtt, below: str) -> Iterator[Finding]:
    """A warning for each thing that the broker doesn't do. `below`: a prefix where this user may write."""
    broker, topic = where(mqtt), f"{below}{new_ulid()}/"
    try:
        with MqttClient.open([mqtt]) as client:
            if not client.comes_retained(topic, f"{topic}tried"):
                yield warning(
                    f"{broker} keeps no retained messages: offers of models don't reach cars that come later",
                    "let the broker retain messages, and this user write them",
                )
            elif not client.comes_retained(topic, f"{topic}+"):
                yield warning(
                    f"{broker} hands retained messages out by their topic alone, not by a pattern: cars that "
                    f"are off are not listed, and a cluster may keep offers on one node",
                    "have the cars on while models are published, or take another broker of docs/mqtt.md",
                )
            if not _takes(client, f"{topic}size", MAX_CHUNK_BYTES + HEADER_BYTES):
                yield warning(
                    f"{broker} takes no message of {MAX_CHUNK_BYTES >> 10} KiB, as the parts of a model are",
                    "let it take more (Mosquitto: max_packet_size), or publish with --chunk-kib",
                )
            if not _sends_will(client, f"{topic}will"):
                yield warning(
                    f"{broker} publishes no last will: a car whose network fails looks as if it were on",
                    "let this user leave a will on its own topics",
                )
    except Problem as trouble:
        yield warning(f"what a fleet needs could not be tried: {trouble}", "see the findings above")


def _takes(client: MqttClient, topic: str, size: int) -> bool:
    """Whether a message of so many bytes comes back, with QoS 1."""
    if client.packet_bytes is not None and client.packet_bytes < size:
        return False
    try:
        with MqttClient.open([client.mqtt]) as other:  # some brokers close the connection over it
            other.subscribe(topic)
            other.publish([(topic, bytes(size - HEADER_BYTES))], retain=False)
            return other.received(COMES_WITHIN_S) is not None
    except Problem:
        return False


def _sends_will(client: MqttClient, topic: str) -> bool:
    """Whether a client whose connection breaks is spoken for."""
    client.subscribe(topic)
    other = PahoClient(client.mqtt, f"smartcar-doctor-{new_ulid()[-10:]}")
    other.will_set(topic, b"lost", qos=1)
    other.connect(client.mqtt.host, client.mqtt.port, client.mqtt.keepalive)
    deadline = time.monotonic() + COMES_WITHIN_S
    while not other.is_connected() and time.monotonic() < deadline:
        other.loop(0.1)
    if (socket := other.socket()) is not None:
        socket.close()
    return client.received(COMES_WITHIN_S) is not None
