"""The pad through MQTT: a real bridge, a real broker, and the lines of docs/pad.md."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages.pad_commands import PadWrite
from services.config import Mqtt
from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import Client, Mosquitto, find_mosquitto
from tests.services.pad.conftest import Pad
from tests.services.processes import service

PUBLISH = [
    line
    for line in (REPOSITORY / "docs" / "pad.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("mosquitto_pub ")
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker"))
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(scope="module")
def bridge(running_pad: Pad, broker: Mosquitto) -> Iterator[None]:
    settings = {"MQTT__HOST": "127.0.0.1", "MQTT__PORT": str(broker.port)}
    with service("bridge", running_pad.runtime, **settings):
        running_pad.onlooker.wait_state("bridge", "ready")
        yield


@pytest.fixture
def client(bridge: None, pad: Pad, broker: Mosquitto) -> Iterator[Client]:
    with Client(broker.port) as connected:
        yield connected.subscribe()


def answer(client: Client, verb: str, command_id: str) -> Any:
    """The reply to one command."""
    came = client.wait(f"reply/pad/{verb}", lambda each: json.loads(each.text)["id"] == command_id)
    return json.loads(came.text)


def ask(client: Client, verb: str, command_id: str, **content: Any) -> Any:
    client.publish(f"cmd/pad/{verb}", json.dumps({"id": command_id, **content}))
    reply = answer(client, verb, command_id)
    assert reply["status"] == "ok", reply
    return reply["data"]


def test_the_lines_of_the_documentation_work(client: Client, pad: Pad, broker: Mosquitto) -> None:
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed (apt install mosquitto-clients)")
    done = set()
    for line in PUBLISH:
        command = shlex.split(line.replace("smartcar/mycar/", "smartcar/testcar/"))
        subprocess.run([*command, "-p", str(broker.port)], check=True, timeout=20)
        verb, command_id = re.findall(r"cmd/pad/(\w+) .*\"id\": \"(\d+)\"", line)[0]
        reply = answer(client, verb, command_id)
        assert reply["status"] == "ok", (line, reply)
        done.add(f"pad.{verb}")
    assert done == {verb for verb in Mqtt().commands if verb.startswith("pad.")}
    assert len(pad.strokes()) >= 7


def test_what_is_drawn_by_mqtt_is_read_and_reported(client: Client, pad: Pad) -> None:
    ask(client, "write", "w1", digits="4-6", seed=3)
    event = json.loads(client.wait("event/pad", lambda each: json.loads(each.text)["text"] == "4-6--").text)
    assert event["automatic"]
    assert len(event["event_id"]) == 26
    assert len(event["model"]["digest"]) == 64
    assert event["latency_ms"] > 0
    assert ask(client, "recognize", "r1")["text"] == "4-6--"
    asked = client.wait("event/pad", lambda each: not json.loads(each.text)["automatic"])
    assert json.loads(asked.text)["text"] == "4-6--"


def test_the_canvas_stands_retained_for_who_comes_late(client: Client, pad: Pad, broker: Mosquitto) -> None:
    pad.ask(PadWrite(digits="12345", seed=3))
    client.wait("state/pad", lambda each: json.loads(each.text)["text"] == "12345")
    with Client(broker.port) as late:
        came = late.subscribe("state/pad").wait("state/pad")
    assert came.retain
    canvas = json.loads(came.text)
    assert canvas["text"] == "12345"
    assert [stroke["points"] for stroke in canvas["strokes"]] == [
        [list(point) for point in stroke] for stroke in pad.strokes()
    ]
    assert len(came.payload) <= 64 << 10


def test_only_what_the_owner_lets_in_comes_in(client: Client, pad: Pad) -> None:
    pad.ask(PadWrite(digits="1", seed=3))
    before = pad.strokes()
    client.publish("cmd/pad/play", json.dumps({"id": "p1", "strokes": [[[5, 5]]]}))
    assert answer(client, "play", "p1")["error"]["code"] == "not-allowed"
    client.publish("cmd/pad/stroke", json.dumps({"id": "s9", "points": [[600, 5]]}))
    assert "outside the canvas" in answer(client, "stroke", "s9")["error"]["message"]
    assert pad.strokes() == before


def test_a_command_that_comes_twice_is_done_once(client: Client, pad: Pad) -> None:
    for _ in range(2):
        client.publish("cmd/pad/stroke", json.dumps({"id": "twice", "points": [[60, 10], [60, 40]]}))
    wait_for(lambda: len(client.inbox.on("reply/pad/stroke")) == 2)
    assert len(pad.strokes()) == 1


def test_the_documentation_names_every_file_it_speaks_of() -> None:
    text = (REPOSITORY / "docs" / "pad.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:messages|services|tools)/[\w/.]+)`", text):
        assert Path(REPOSITORY / path).exists(), path
