"""From `smartcar model publish` to the model that reads: the car's processes, a real broker, the command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from messages.offers import chunk_topic, offer_topic
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from services.config import Mqtt
from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import Client, Mosquitto, find_mosquitto
from tests.services.updater.conftest import Car
from tests.services.updater.test_mqtt import answer, ask
from tools.publish.mqtt_client import MqttClient
from tools.publish.publication import Publication, look
from tools.publish.retained_model import RetainedModel
from tools.publish.signing import release_of

FOLLOWS = {"MODELS__FOLLOW": '["lab"]'}


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def follower(car: Car, broker: Mosquitto) -> Car:
    """A car that follows `lab` on the broker."""
    car.settings |= FOLLOWS | {"MQTT__HOST": "127.0.0.1", "MQTT__PORT": str(broker.port)}
    car.start_again("updater")
    car.start("bridge")
    car.onlooker.wait_state("bridge", "ready")
    return car


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[Client]:
    with Client(broker.port) as connected:
        yield connected.subscribe()


class Publisher:
    """`smartcar model publish`, with a key that the car trusts."""

    def __init__(self, folder: Path, car: Car, broker: Mosquitto) -> None:
        self._folder, self._broker = folder, broker
        self._key = folder / "lab.key"
        car.key.save(self._key)

    def publish(self, bundle: Bundle | None, *options: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code, and what it printed."""
        process = self.start(bundle, *options)
        out, err = process.communicate(timeout=60)
        print(err)
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    def start(self, bundle: Bundle | None, *options: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tools.cli", "model", "publish"]
        if bundle is not None:
            path = self._folder / f"{bundle.digest[:12]}.zip"
            path.write_bytes(pack(bundle))
            words += [str(path), "--key", str(self._key)]
        words += ["--broker", f"127.0.0.1:{self._broker.port}", "--json", *options]
        return subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env={name: value for name, value in os.environ.items() if not name.startswith("SMARTCAR_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def publisher(tmp_path: Path, car: Car, broker: Mosquitto) -> Publisher:
    return Publisher(tmp_path, car, broker)


def test_published_it_is_taken_rolled_back_it_stays_so(
    follower: Car, publisher: Publisher, client: Client
) -> None:
    shipped = follower.state.active
    code, lines = publisher.publish(follower.bundle("lab"))
    assert code == 0
    assert lines[-1]["taken"] == ["testcar"]
    digest = lines[-1]["digest"]
    assert [line["step"] for line in lines[:-1] if line["step"]][-1] == "active"
    follower.reads_with(digest)

    client.publish("cmd/model/rollback", '{"id": "desk-1"}')
    follower.reads_with(shipped.digest)
    state = client.wait(
        "state/model", lambda each: [o["reason"] for o in json.loads(each.text)["offers"]] == ["pinned"]
    )
    assert json.loads(state.text)["offers"][0]["digest"] == digest
    follower.start_again("updater")  # the offer comes again, and changes nothing
    wait_for(lambda: follower.onlooker.wait(lambda: follower.state.offers))
    assert follower.state.active == shipped

    client.publish("cmd/model/unpin", '{"id": "desk-2"}')
    follower.reads_with(digest)


def test_everything_is_killed_in_mid_transfer(follower: Car, broker: Mosquitto, client: Client) -> None:
    """Of an offer two chunks have come when broker, bridge and updater are killed: it goes on from there."""
    shipped = follower.state.active
    bundle = release_of(follower.bundle("lab"), follower.key, release=2)
    publication = Publication(bundle, chunk_bytes=32 << 10)
    way = Mqtt(host="127.0.0.1", port=broker.port)
    with MqttClient.open([way]) as link:
        link.publish(list(publication._missing(RetainedModel("lab")))[:2], retain=True)
        link.publish([(offer_topic("lab"), publication.offer.encoded())], retain=True)
        payload = follower.runtime / "state" / "updater" / "fetch" / bundle.digest[:32] / "payload"
        wait_for(lambda: payload.exists() and payload.stat().st_size == 64 << 10)
    broker.kill()
    follower.kill("updater")
    follower.kill("bridge")
    assert payload.stat().st_size == 64 << 10
    broker.start()
    follower.start("updater", "bridge")
    assert follower.state.active == shipped
    with MqttClient.open([way]) as link:
        retained = look(link, "lab", (chunk_topic("lab", bundle.digest, 0),))
        Publication(bundle, chunk_bytes=32 << 10).put(link, retained)
        follower.reads_with(bundle.digest)
    steps = [step.step for step in follower.steps(change=publication.change)]
    assert steps.count("fetching") == 1


def test_one_line_of_json_installs(
    follower: Car, broker: Mosquitto, client: Client, publisher: Publisher, tmp_path: Path
) -> None:
    """By the name of what stands, though the car is pinned; by URL, size and hash; and never otherwise."""
    bundle = release_of(follower.bundle("lab"), follower.key, release=3)
    with (
        Client(broker.port, protocol="5") as desk,
        MqttClient.open([Mqtt(host="127.0.0.1", port=broker.port)]) as link,
    ):
        desk.subscribe()
        assert ask(desk, "pin", "desk-1")["status"] == "ok"
        assert ask(desk, "install", "desk-2", offer="lab")["error"]["code"] == "no_offer"
        Publication(bundle).put(link, look(link, "lab"))
        desk.wait("event/model", lambda each: json.loads(each.text)["reason"] == "pinned")
        reply = ask(desk, "install", "desk-3", offer="lab")
        assert (reply["status"], reply["data"]["model"]["digest"]) == ("ok", bundle.digest)
        follower.reads_with(bundle.digest)

        # A retained command, one on another car's topic, an answer to be sent elsewhere.
        desk.publish("cmd/model/rollback", '{"id": "desk-4"}', retain=True)
        assert answer(desk, "rollback", "desk-4")["error"]["code"] == "retained"
        desk.client.publish("smartcar/othercar/cmd/model/rollback", '{"id": "desk-5"}', 1)
        desk.publish("cmd/model/list", '{"id": "desk-6"}', answer_to="smartcar/othercar/reply/model/list")
        assert answer(desk, "list", "desk-6")["status"] == "ok"
        assert follower.state.active.digest == bundle.digest
        ask(desk, "unpin", "desk-7")

    other = release_of(follower.bundle("elsewhere"), follower.key, release=1)
    content = pack(other)
    with served(tmp_path, content) as url:
        right = {"url": url, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        wrong = right | {"sha256": "ab" * 32}
        assert ask(client, "install", "desk-8", **wrong)["data"]["step"] == "fetching"
        assert follower.end(change="desk-8").reason == "not_fetched"
        assert follower.state.active.digest == bundle.digest
        ask(client, "install", "desk-9", **right)
        follower.reads_with(other.digest)
        unsigned = pack(follower.bundle("elsewhere"))
    with served(tmp_path, unsigned) as url:
        digest = hashlib.sha256(unsigned).hexdigest()
        ask(client, "install", "desk-10", url=url, sha256=digest, size=len(unsigned))
        assert follower.end(change="desk-10").reason == "unsigned"


@contextmanager
def served(folder: Path, content: bytes) -> Iterator[str]:
    """The URL of a file."""
    (folder / "bundle.zip").write_bytes(content)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/bundle.zip"
        server.shutdown()
