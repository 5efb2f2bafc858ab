"""The bus as it appears on MQTT: from a publisher, through a real bridge and broker, to a client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from messages.bus import Publisher
from messages.health import Heartbeat
from messages.vision import Box, Code, Digit, ModelInfo, Reading, ReadingImage
from services.bridge.state_mirror import StateMirror
from services.catalogue import TOPICS
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import Client

MODEL = ModelInfo(name="test", version="1.0.0", digest="0" * 64)


def reading(text: str, frame_id: int) -> Reading:
    digits = tuple(
        Digit(
            label=label,
            confidence=0.9,
            runner_up="7",
            runner_up_confidence=0.05,
            box=Box(x=10 * index, y=0, width=10, height=10),
        )
        for index, label in enumerate(text)
    )
    code = Code(text=text, confidence=0.9, box=Box(x=0, y=0, width=50, height=10), digits=digits)
    return Reading(
        frame_id=frame_id,
        captured_ns=1,
        width=640,
        height=480,
        codes=(code,) if text else (),
        model=MODEL,
        latency_ms=5,
    )


@pytest.fixture
def recognizer(context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> Iterator[Publisher]:
    """The recognizer's place on the bus."""
    made = Publisher(context, runtime, "recognizer")
    yield made
    made.close()


def say(publisher: Publisher, *what: tuple[str, Heartbeat | Reading | ReadingImage]) -> None:
    """Publish, and answer whoever has subscribed."""
    for name, message in what:
        publisher.publish(name, message)
    publisher.answer_subscriptions()


def test_state_is_retained_and_published_again_to_a_broker_that_forgot(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, recognizer: Publisher
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    picture = ReadingImage(event_id="e", text="06234", width=2, height=1, jpeg=b"\xff\xd8picture")
    say(
        recognizer,
        ("reading", reading("06234", 1)),
        ("health", Heartbeat(state="ready", pid=1, uptime_s=1)),
        ("reading.image", picture),
    )
    for generation in range(2):
        recognizer.answer_subscriptions()
        with Client(broker.port).subscribe("#") as late:
            state = json.loads(late.wait("state/reading").payload)
            assert state["codes"][0]["text"] == "06234"
            assert json.loads(late.wait("status/recognizer").payload)["state"] == "ready"
            assert late.wait("image/reading").payload == b"\xff\xd8picture"
            assert json.loads(late.wait("info").payload)["protocol"] == "5"
        with Client(broker.port).subscribe("#") as later:
            for topic in ("state/reading", "status/recognizer", "image/reading", "status", "info"):
                assert later.wait(topic).retain, topic
        if generation == 0:
            broker.kill()
            broker.start()


def test_a_reading_is_published_when_it_changes_and_not_thirty_times_a_second(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, recognizer: Publisher
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    with Client(broker.port).subscribe("state/reading") as client:
        say(recognizer, ("reading", reading("1", 0)))
        client.wait("state/reading")
        for frame in range(1, 60):
            recognizer.publish("reading", reading("1" if frame < 30 else "2", frame))
        changed = client.wait("state/reading", lambda each: b'"text":"2"' in each.payload)
        assert json.loads(changed.payload)["frame_id"] >= 30
        assert len(client.inbox.on("state/reading")) == 2


def test_pictures_can_be_switched_off_and_then_none_stands_there_any_more(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, recognizer: Publisher
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("#") as client:
        client.publish("image/reading", b"from earlier", retain=True)
        bridge = make_bridge(port=broker.port, images="false")
        bridge.wait("ready")
        picture = ReadingImage(event_id="e", text="1", width=1, height=1, jpeg=b"picture")
        say(recognizer, ("reading.image", picture), ("reading", reading("1", 1)))
        client.wait("state/reading")
        assert [each.payload for each in client.inbox.on("image/reading")] == [b"from earlier", b""]
    with Client(broker.port).subscribe("#") as late:
        late.wait("state/reading")
        assert late.inbox.on("image/reading") == []


def test_metrics_tell_of_all_services(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, recognizer: Publisher
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("metrics") as client:
        bridge = make_bridge(port=broker.port)
        bridge.wait("ready")
        beat = Heartbeat(state="ready", pid=1, uptime_s=1, rates={"frames": 30.0}, memory_mb=50)
        say(recognizer, ("health", beat))
        came = client.wait("metrics")
        assert not came.retain
        services = json.loads(came.payload)["services"]
        assert services["recognizer"]["rates"] == {"frames": 30.0}
        assert services["bridge"]["memory_mb"] > 5


def test_the_car_is_degraded_when_a_service_is_and_says_which_and_why(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, recognizer: Publisher
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("status") as client:
        bridge = make_bridge(port=broker.port)
        bridge.wait("ready")
        ill = Heartbeat(state="degraded", reason="The model is tired; let it rest", pid=1, uptime_s=1)
        say(recognizer, ("health", ill))
        status = json.loads(client.wait("status", lambda each: b"tired" in each.payload).payload)
        assert status["state"] == "degraded"
        assert status["services"]["recognizer"] == "degraded"
        assert "recognizer: The model is tired; let it rest" in status["reason"]


def test_what_is_off_on_purpose_is_told_and_the_car_is_well(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, recognizer: Publisher
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("status") as client:
        bridge = make_bridge(port=broker.port)
        bridge.wait("ready")
        off = Heartbeat(state="off", reason="switched off; switch it on", pid=1, uptime_s=1)
        say(recognizer, ("health", off))
        status = json.loads(client.wait("status", lambda each: b"switched off" in each.payload).payload)
        assert status["state"] != "degraded"
        assert status["services"]["recognizer"] == "off"
        assert "recognizer: switched off; switch it on" in status["reason"]


class Paper:
    """Where a mirror writes, with a clock to turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.published: list[str] = []
        self.mirror = StateMirror(self._publish, clock=lambda: self.now)

    def _publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        self.published.append(json.loads(payload)["codes"][0]["text"])

    def read(self, text: str) -> None:
        self.mirror.take(TOPICS["reading"], reading(text, 1).stamped("recognizer", "boot", 1))


def test_a_change_that_comes_too_soon_waits_and_the_newest_goes() -> None:
    paper = Paper()
    for text in ("1", "2", "3"):
        paper.read(text)
    paper.mirror.flush()
    assert paper.published == ["1"]
    paper.now = 0.5
    paper.mirror.flush()
    assert paper.published == ["1", "3"]


def test_a_change_that_is_undone_before_its_turn_is_not_published() -> None:
    paper = Paper()
    for text in ("1", "2", "1"):
        paper.read(text)
    paper.now = 1.0
    paper.mirror.flush()
    assert paper.published == ["1"]


def test_what_does_not_change_is_not_published_again() -> None:
    paper = Paper()
    for tenth in range(50):
        paper.now = tenth / 10
        paper.read("1")
        paper.mirror.flush()
    assert paper.published == ["1"]
