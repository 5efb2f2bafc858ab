"""The MQTT client as the bridge and the commands set it up."""

from __future__ import annotations

import socket
from typing import Literal

import pytest

from services.bridge.paho_client import PahoClient
from services.config import Mqtt


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_no_packet_waits_for_the_acknowledgement_of_the_one_before(protocol: Literal["5", "3.1.1"]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        mqtt = Mqtt(host="127.0.0.1", port=server.getsockname()[1], protocol=protocol)
        client = PahoClient(mqtt, "probe")
        client.connect(mqtt.host, mqtt.port)
        connection = client.socket()
        assert isinstance(connection, socket.socket)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.close()
