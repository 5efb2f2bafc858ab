"""A broker, and bundles small enough that a test can count their chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from services.config import Mqtt
from tests.models.making import rewritten
from tests.services.bridge.kit import Mosquitto, find_mosquitto
from tools.publish.mqtt_client import MqttClient
from tools.publish.signing import release_of
from tools.up.embedded_broker import EmbeddedBroker


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module", params=["Mosquitto, MQTT 5", "Mosquitto, MQTT 3.1.1", "embedded, MQTT 3.1.1"])
def way(request: pytest.FixtureRequest) -> Iterator[Mqtt]:
    """How to reach a broker, of each kind that publishing must work with."""
    kind = str(request.param)
    if kind.startswith("embedded"):
        with EmbeddedBroker(0) as embedded:
            yield Mqtt(host="127.0.0.1", port=embedded.port, protocol="3.1.1")
    else:
        broker = request.getfixturevalue("mosquitto")
        yield Mqtt(host="127.0.0.1", port=broker.port, protocol="5" if kind.endswith("5") else "3.1.1")


@pytest.fixture
def client(way: Mqtt) -> Iterator[MqttClient]:
    with MqttClient.open([way]) as opened:
        yield opened


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def release(tmp_path: Path, key: SigningKey) -> Callable[..., Bundle]:
    """A signed release of the shipped model under another name."""
    made: list[Path] = []

    def make(name: str, number: int = 1, **changed: object) -> Bundle:
        made.append(rewritten(tmp_path / f"bundle-{len(made)}", lambda manifest: manifest.update(name=name)))
        return release_of(Bundle.load(made[-1]), key, release=number, **changed)  # type: ignore[arg-type]

    return make
