"""The embedded broker, spoken to by paho as any subscriber would."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.conftest import wait_for
from tools.up.embedded_broker import BrokerCannotStart, EmbeddedBroker

WAIT_S = 20


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(port=0) as running:
        yield running


class Client:
    """A connected MQTT client that keeps what it receives."""

    def __init__(self, port: int, protocol: MQTTProtocolVersion) -> None:
        self.came: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        self._subscribed: queue.Queue[bool] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.on_message = lambda _, __, each: self.came.put(
            (each.topic, bytes(each.payload), each.retain)
        )
        self.client.on_subscribe = lambda *_: self._subscribed.put(True)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def subscribe(self, pattern: str) -> None:
        self.client.subscribe(pattern, qos=1)
        assert self._subscribed.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def clients(broker: EmbeddedBroker) -> Iterator[tuple[Client, Client]]:
    """One that speaks MQTT 3.1.1 and one that speaks 5."""
    old = Client(broker.port, MQTTProtocolVersion.MQTTv311)
    new = Client(broker.port_5, MQTTProtocolVersion.MQTTv5)
    yield old, new
    old.close()
    new.close()


def test_both_protocol_versions_meet_on_one_broker(clients: tuple[Client, Client]) -> None:
    old, new = clients
    old.subscribe("from/new")
    new.subscribe("from/old")
    new.publish("from/new", b"1")
    old.publish("from/old", b"2")
    assert old.came.get(timeout=WAIT_S) == ("from/new", b"1", False)
    assert new.came.get(timeout=WAIT_S) == ("from/old", b"2", False)


def test_a_picture_or_a_model_is_not_too_large(clients: tuple[Client, Client]) -> None:
    old, new = clients
    old.subscribe("large")
    payload = bytes(range(256)) * (3 << 12)  # 3 MiB
    new.publish("large", payload)
    assert old.came.get(timeout=WAIT_S) == ("large", payload, False)


def test_a_late_subscriber_gets_what_is_retained(clients: tuple[Client, Client]) -> None:
    old, new = clients
    new.publish("kept", b"state", retain=True)
    old.subscribe("kept")
    assert old.came.get(timeout=WAIT_S) == ("kept", b"state", True)


def test_it_listens_on_loopback_alone(broker: EmbeddedBroker) -> None:
    wanted = {f"{port:04X}" for port in (broker.port, broker.port_5)}
    listening = {
        tuple(line.split()[1].split(":"))
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    assert {(host, port) for host, port in listening if port in wanted} == {
        ("0100007F", port) for port in wanted
    }


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerCannotStart, match=rf"port {port} .*in use.*mqtt\.host"):
            EmbeddedBroker(port=port).start()


def test_it_stops_with_the_block_and_gives_its_ports_back() -> None:
    with EmbeddedBroker(port=0) as first:
        ports = first.port, first.port_5
        assert first.running
    assert not first.running
    with EmbeddedBroker(*ports) as second:
        assert (second.port, second.port_5) == ports


def test_it_ends_with_a_process_that_is_killed() -> None:
    program = (
        "import sys\n"
        "from tools.up.embedded_broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker(port=0).start()\n"
        "print(broker.port, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    assert _answers(port)
    parent.kill()
    parent.wait()
    wait_for(lambda: not _answers(port), what="the broker's end")
    parent.stdin.close()
    parent.stdout.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S).close()
    except ConnectionRefusedError:
        return False
    return True
