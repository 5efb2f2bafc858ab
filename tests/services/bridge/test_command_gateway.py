"""Commands from MQTT: which come in, how often one is done, and where its answer goes."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zmq

from messages.capture_commands import CapturePause, CaptureSource
from messages.command import CommandRefused
from messages.rpc.server import CommandServer
from tests.conftest import wait_for
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import PREFIX, Bridge, Client, Mosquitto, find_mosquitto


class Capture:
    """A service that takes commands, without a camera."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self.done: list[str] = []
        self._server = CommandServer(context, runtime, "capture")
        self._server.handle(CapturePause, lambda command: self.done.append(command.id))
        self._server.handle(CaptureSource, self._source)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _source(self, command: CaptureSource) -> None:
        raise CommandRefused("unknown-source", f"there is no source {command.name}")

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._server.socket.poll(20):
                self._server.serve()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._server.close()


@pytest.fixture
def capture(context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> Iterator[Capture]:
    made = Capture(context, runtime)
    yield made
    made.close()


@dataclass
class Car:
    """A broker, a bridge and a service that takes commands, shared by the tests that leave them well."""

    broker: Mosquitto
    capture: Capture


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Car]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as folder:
        capture = Capture(context, Path(folder))
        bridge = Bridge(context, Path(folder), Path(folder) / "state", port=broker.port).start()
        bridge.wait("ready")
        yield Car(broker, capture)
        bridge.close()
        capture.close()
    broker.stop()
    context.destroy(linger=0)


@pytest.fixture
def client(car: Car) -> Iterator[Client]:
    car.capture.done.clear()
    with Client(car.broker.port, protocol="5").subscribe("reply/#") as made:
        yield made


def answer(client: Client, command_id: str, topic: str = "reply/capture/pause") -> dict[str, Any]:
    came = client.wait(topic, lambda each: json.loads(each.payload)["id"] == command_id)
    assert not came.retain
    content: dict[str, Any] = json.loads(came.payload)
    return content


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_command_is_done_and_answered(
    protocol: str, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, capture: Capture
) -> None:
    broker = make_mosquitto()
    make_bridge(port=broker.port, protocol=protocol).wait("ready")
    with Client(broker.port).subscribe("reply/#") as client:
        client.publish("cmd/capture/pause", '{"id": "a-1"}')
        assert answer(client, "a-1") == {"id": "a-1", "status": "ok", "data": {}, "error": None}
    assert capture.done == ["a-1"]


def test_an_empty_message_is_a_command_without_fields(client: Client, car: Car) -> None:
    client.publish("cmd/capture/pause", b"")
    wait_for(lambda: len(client.inbox.on("reply/capture/pause")) == 1)
    assert len(car.capture.done) == 1


def test_a_refusal_of_the_service_comes_back_with_its_code_and_sentence(client: Client) -> None:
    client.publish("cmd/capture/source", '{"id": "b-1", "name": "garden"}')
    assert answer(client, "b-1", "reply/capture/source")["error"] == {
        "code": "unknown-source",
        "message": "there is no source garden",
    }


def test_an_id_seen_before_gets_its_old_answer(client: Client, car: Car) -> None:
    for _ in range(3):
        client.publish("cmd/capture/pause", '{"id": "c-1"}')
    wait_for(lambda: len(client.inbox.on("reply/capture/pause")) == 3)
    answers = {each.payload for each in client.inbox.on("reply/capture/pause")}
    assert len(answers) == 1
    assert car.capture.done == ["c-1"]


def test_the_answer_goes_to_the_topic_asked_for_below_this_car_s_replies(client: Client) -> None:
    client.publish(
        "cmd/capture/pause",
        '{"id": "d-1"}',
        answer_to=f"{PREFIX}reply/desk/7",
        correlation=b"\x00seven",
    )
    came = client.wait("reply/desk/7")
    assert json.loads(came.payload)["id"] == "d-1"
    assert came.properties.CorrelationData == b"\x00seven"


@pytest.mark.parametrize(
    "elsewhere", ["smartcar/other/reply/x", f"{PREFIX}event/reading", f"{PREFIX}replyx/y"]
)
def test_an_answer_goes_nowhere_else(client: Client, elsewhere: str, car: Car) -> None:
    with Client(car.broker.port) as spy:
        spy.client.subscribe("#")
        client.publish("cmd/capture/pause", json.dumps({"id": elsewhere[-9:]}), answer_to=elsewhere)
        assert answer(client, elsewhere[-9:])["status"] == "ok"
        wait_for(lambda: f"{PREFIX}reply/capture/pause" in {each.topic for each in spy.inbox.messages})
        assert elsewhere not in {each.topic for each in spy.inbox.messages}


def test_a_retained_command_is_refused_live_and_at_every_connection(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, capture: Capture
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port, protocol="5")
    bridge.wait("ready")
    with Client(broker.port).subscribe("reply/#") as client:
        client.publish("cmd/capture/pause", '{"id": "f-1"}', retain=True)
        error = answer(client, "f-1")["error"]
        assert error["code"] == "retained"
        assert "without the retain flag" in error["message"]
        bridge.stop()
        bridge.start()
        wait_for(lambda: len(client.inbox.on("reply/capture/pause")) == 2)
        again = json.loads(client.inbox.on("reply/capture/pause")[1].payload)
        assert again["error"]["code"] == "retained"
    assert capture.done == []


def test_with_3_1_1_a_retained_command_is_refused_when_it_stands_there(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, capture: Capture
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("reply/#") as client:
        client.publish("cmd/capture/pause", '{"id": "f-2"}', retain=True)
        make_bridge(port=broker.port, protocol="3.1.1")
        assert answer(client, "f-2")["error"]["code"] == "retained"
    assert capture.done == []


@pytest.mark.parametrize(
    ("topic", "payload", "code", "words"),
    [
        ("capture/pause", {"expires_at": "2020-01-01T00:00:00Z"}, "expired", "2020"),
        ("capture/snapshot", {}, "not-allowed", "mqtt.commands"),
        ("capture/explode", {}, "unknown-verb", "capture.explode"),
        ("/", {}, "unknown-verb", "no command"),
        ("capture/pause", {"speed": 3}, "malformed", "speed"),
        ("capture/source", {}, "malformed", "name"),
    ],
)
def test_what_is_refused_is_refused_with_a_code_and_a_sentence(
    client: Client, car: Car, topic: str, payload: dict[str, object], code: str, words: str
) -> None:
    client.publish(f"cmd/{topic}", json.dumps({"id": "g-1", **payload}))
    error = answer(client, "g-1", f"reply/{topic}")["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert car.capture.done == []


def test_garbage_is_answered_and_survived(client: Client) -> None:
    garbage = [b"\xff\xfe", b"[" * 100_000, b"17", b'{"id": 3}', b'"' + b"x" * 500_000]
    for count, payload in enumerate(garbage, 1):
        client.publish("cmd/capture/pause", payload)
        wait_for(lambda: len(client.inbox.on("reply/capture/pause")) == count)  # noqa: B023
        reply = json.loads(client.inbox.on("reply/capture/pause")[-1].payload)
        assert reply["error"]["code"] == "malformed"
    client.publish("cmd/capture/pause", '{"id": "after"}')
    assert answer(client, "after")["status"] == "ok"


HOSTILE_IDS = [r"\ud800", r"a\udfffb", r"\u0000", "ö", "x" * 65, " ", r"\n", ""]


def test_an_id_that_is_none_is_answered_without_it(client: Client) -> None:
    topics = ("capture/pause", "pad/write", "capture/snapshot", "nonsense/verb")
    for number, hostile in enumerate(HOSTILE_IDS):
        topic, earlier = topics[number % 4], number // 4
        client.publish(f"cmd/{topic}", f'{{"id": "{hostile}"}}')
        wait_for(lambda: len(client.inbox.on(f"reply/{topic}")) > earlier)  # noqa: B023
        reply = json.loads(client.inbox.on(f"reply/{topic}")[-1].payload)
        assert (reply["id"], reply["status"]) == ("", "error")
    client.publish("cmd/capture/pause", '{"id": "after"}')
    assert answer(client, "after")["status"] == "ok"


def test_a_retained_command_with_such_an_id_keeps_no_bridge_from_its_broker(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, capture: Capture
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("reply/#") as client:
        client.publish("cmd/capture/pause", r'{"id": "\ud800"}', retain=True)
        make_bridge(port=broker.port).wait("ready")
        error = json.loads(client.wait("reply/capture/pause").payload)["error"]
        assert error["code"] == "retained"
        client.publish("cmd/capture/pause", '{"id": "after"}')
        assert answer(client, "after")["status"] == "ok"


def test_a_command_that_has_not_expired_is_done(client: Client, car: Car) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    client.publish("cmd/capture/pause", json.dumps({"id": "h-1", "expires_at": soon}))
    assert answer(client, "h-1")["status"] == "ok"


def test_a_flood_is_held_back_and_told_so(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, capture: Capture
) -> None:
    broker = make_mosquitto()
    make_bridge(port=broker.port).wait("ready")
    flood = 200
    with Client(broker.port).subscribe("reply/#") as client:
        for number in range(flood):
            client.client.publish(f"{PREFIX}cmd/capture/pause", json.dumps({"id": f"i-{number}"}), 1)
        client.wait("reply/capture/pause", lambda each: b'"rate-limited"' in each.payload)
        client.publish("cmd/capture/pause", "")
        wait_for(lambda: capture.done)
    assert len(capture.done) < flood


def test_a_service_that_is_not_there_is_named(make_mosquitto: MakeMosquitto, make_bridge: MakeBridge) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    with Client(broker.port).subscribe("reply/#") as client:
        client.publish("cmd/capture/pause", '{"id": "j-1"}')
        assert answer(client, "j-1")["error"]["code"] == "no-answer"
        client.publish("cmd/capture/pause", '{"id": "j-2"}')
        assert bridge.stop() == 0, "it does not wait for the answer"


def test_without_commands_in_the_settings_none_are_asked_for(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, capture: Capture
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port, commands="[]")
    bridge.wait("ready")
    with Client(broker.port).subscribe("#") as client:
        client.publish("cmd/capture/pause", '{"id": "k-1"}')
        assert json.loads(client.wait("info").payload)["commands"] == {}
        bridge.stop()
        client.wait("status", lambda each: b'"stopped"' in each.payload)
        assert client.inbox.on("reply/capture/pause") == []
    assert capture.done == []
