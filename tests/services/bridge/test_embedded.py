"""The bridge and the embedded broker of `smartcar up`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.services.bridge.conftest import MakeBridge
from tests.services.bridge.kit import Client, Producer, sequences
from tools.up.embedded_broker import EmbeddedBroker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(port=0) as made:
        yield made


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_events_status_and_commands_work(
    protocol: str, broker: EmbeddedBroker, make_bridge: MakeBridge, producer: Producer
) -> None:
    producer.write(500)
    with Client(broker.port).subscribe("#") as client:
        bridge = make_bridge(port=broker.port_5 if protocol == "5" else broker.port, protocol=protocol)
        wait_for(lambda: len(sequences(client)) >= 500)
        assert sequences(client) == list(range(1, 501))
        client.publish("cmd/capture/snapshot", '{"id": "1"}')
        reply = client.wait("reply/capture/snapshot")
        assert json.loads(reply.payload)["error"]["code"] == "not-allowed"
        bridge.stop()
        client.wait("status", lambda each: b'"stopped"' in each.payload)
        bridge.start()
        bridge.wait("ready")
        bridge.kill()
        client.wait("status", lambda each: b'"lost"' in each.payload)


def test_the_port_of_the_other_protocol_is_said(broker: EmbeddedBroker, make_bridge: MakeBridge) -> None:
    make_bridge(port=broker.port, protocol="5").wait("degraded", 'mqtt.protocol = "3.1.1"')
