"""From `smartcar model publish` to the model that reads: the car's processes, a real broker, the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.archive import pack
from models.bundle import Bundle
from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import Client, Mosquitto, find_mosquitto
from tests.services.updater.conftest import Car

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
    car.onlooker.wait_state("bridge", "ready", within_s=30)
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
    wait_for(lambda: follower.onlooker.wait(lambda: follower.state.offers, within_s=20))
    assert follower.state.active == shipped

    client.publish("cmd/model/unpin", '{"id": "desk-2"}')
    follower.reads_with(digest)
