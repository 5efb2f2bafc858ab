"""Models over MQTT: a real bridge and broker; commands in, replies, progress and state out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from models.bundle.archive import pack
from tests.services.bridge.kit import Client, Mosquitto, find_mosquitto
from tests.services.updater.conftest import Car


@pytest.fixture
def client(car: Car, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    car.start("bridge", MQTT__HOST="127.0.0.1", MQTT__PORT=str(broker.port))
    car.onlooker.wait_state("bridge", "ready")
    with Client(broker.port) as connected:
        yield connected.subscribe()
    broker.stop()


def ask(client: Client, verb: str, command_id: str, **content: Any) -> Any:
    client.publish(f"cmd/model/{verb}", json.dumps({"id": command_id, **content}))
    return answer(client, verb, command_id)


def answer(client: Client, verb: str, command_id: str) -> Any:
    came = client.wait(f"reply/model/{verb}", lambda each: json.loads(each.text)["id"] == command_id)
    return json.loads(came.text)


def test_a_signed_bundle_is_installed_and_rolled_back(car: Car, client: Client) -> None:
    shipped, bundle = car.state.active, car.bundle("afar", car.key, release=3)
    content = base64.b64encode(pack(bundle)).decode()
    reply = ask(client, "install", "desk-1", content=content)
    assert reply["status"] == "ok"
    assert reply["data"]["model"]["digest"] == bundle.digest

    client.wait("event/model", lambda each: json.loads(each.text)["step"] == "active")
    steps = [json.loads(each.payload) for each in client.inbox.on("event/model")]
    assert [step["step"] for step in steps] == ["received", "checked", "tested", "trial", "active"]
    assert [step["percent"] for step in steps] == sorted(step["percent"] for step in steps)
    assert {step["change"] for step in steps} == {"desk-1"}
    client.wait("state/model", lambda each: json.loads(each.text)["active"]["digest"] == bundle.digest)
    car.reads_with(bundle.digest)

    models = ask(client, "list", "desk-2")["data"]["models"]
    assert [(each["model"]["name"], each["state"]) for each in models] == [
        ("afar", "active"),
        (shipped.name, "previous"),
    ]
    assert ask(client, "rollback", "desk-3")["status"] == "ok"
    car.reads_with(shipped.digest)
    client.wait("state/model", lambda each: json.loads(each.text)["pinned"])

    # What came before is not done again: neither here, nor by an updater that was killed since.
    assert ask(client, "rollback", "desk-3")["status"] == "ok"
    car.kill("updater")
    car.start("updater")
    assert car.state.active == shipped

    refused = ask(client, "install", "desk-4", content=base64.b64encode(pack(car.bundle("no"))).decode())
    assert refused["error"]["code"] == "pinned"
    assert ask(client, "unpin", "desk-5")["data"]["pinned"] is False
    refused = ask(client, "install", "desk-6", content=base64.b64encode(pack(car.bundle("no"))).decode())
    assert refused["error"]["code"] == "unsigned"


@pytest.mark.parametrize("verb", ["import", "upload"])
def test_what_is_for_the_car_alone_is_not_taken(car: Car, client: Client, verb: str) -> None:
    assert ask(client, verb, "desk-1", name="x.h5", content="AAAA")["error"]["code"] == "not-allowed"
    client.publish("cmd/recognizer/try", json.dumps({"id": "desk-2", "bundle": "ab" * 32}))
    came = client.wait("reply/recognizer/try")
    assert json.loads(came.text)["error"]["code"] == "not-allowed"
