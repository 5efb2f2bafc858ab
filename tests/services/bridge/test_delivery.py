"""Events reach the broker at least once and in their order, whatever is killed meanwhile."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import zmq

from messages.bus import Subscriber
from messages.vision import ReadingEvent
from tests.conftest import PATIENCE_S, wait_for
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import Client, Producer, Relay, sequences, without_repetition


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_events_arrive_in_order_and_once(
    protocol: str, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("event/#") as client:
        producer.write(200)
        make_bridge(port=broker.port, protocol=protocol)
        wait_for(lambda: len(sequences(client)) >= 200)
        producer.write(1)
        wait_for(lambda: len(sequences(client)) >= 201)
        assert sequences(client) == list(range(1, 202))
        first = client.inbox.on("event/reading")[0]
        assert ReadingEvent.model_validate_json(first.payload) == producer.written[0]


def test_a_broker_that_is_killed_in_mid_stream_loses_nothing(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    broker = make_mosquitto()
    road = Relay(broker.port)
    producer.write(3000)
    bridge = make_bridge(port=road.port)
    arrived: list[int] = []
    rounds = 3
    for remaining in reversed(range(rounds)):
        # QoS 0: what the broker has acknowledged to the bridge it has then written to this client, too.
        client = Client(broker.port).subscribe("event/#", qos=0)
        road.open()
        enough = 3000 if remaining == 0 else len(arrived) + 300
        wait_for(lambda: len(set(arrived + sequences(client))) >= enough)  # noqa: B023
        if remaining:
            broker.kill()
            assert client.gone.wait(PATIENCE_S)
        arrived += sequences(client)
        road.cut()
        if remaining:
            broker.start()
    assert without_repetition(arrived) == list(range(1, 3001))
    again = len(arrived) - 3000
    assert again <= (rounds - 1) * 64, "no more than was in flight is sent twice"
    bridge.wait("degraded", "broker")


def test_a_bridge_that_is_killed_again_and_again_loses_nothing(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    broker = make_mosquitto()
    chance = random.Random(5)
    producer.write(4000)
    with Client(broker.port).subscribe("event/#") as client:
        for _ in range(4):
            before = len(client.inbox.messages)
            bridge = make_bridge(port=broker.port)
            wait_for(lambda: len(client.inbox.messages) > before + chance.randrange(400))  # noqa: B023
            bridge.kill()
        make_bridge(port=broker.port)
        wait_for(lambda: len(set(sequences(client))) == 4000)
        numbers = sequences(client)
    assert without_repetition(numbers) == list(range(1, 4001))
    assert len(numbers) - 4000 <= 4 * (128 + 64), "only what was in flight or not yet noted is sent twice"


def test_the_cursor_is_announced_once_it_is_saved_and_survives_a_clean_stop(
    make_mosquitto: MakeMosquitto,
    make_bridge: MakeBridge,
    producer: Producer,
    context: zmq.Context[zmq.Socket[bytes]],
    runtime: Path,
    tmp_path: Path,
) -> None:
    broker = make_mosquitto()
    cursors = Subscriber(context, runtime, ["bridge.cursor"], ["bridge"])
    producer.write(50)
    bridge = make_bridge(port=broker.port)

    def announced() -> int:
        for _, message in cursors.receive():
            if producer.journal.id in message.delivered:
                saved = json.loads((tmp_path / "state/bridge/cursor.json").read_text())["delivered"]
                assert saved[producer.journal.id] >= message.delivered[producer.journal.id]
                return int(message.delivered[producer.journal.id])
        return 0

    assert wait_for(lambda: announced() == 50)
    producer.write(50)
    bridge.wait_for(lambda beat: beat.counters.get("delivered") == 100)
    assert bridge.stop() == 0
    with Client(broker.port).subscribe("event/#") as client:
        producer.write(1)
        make_bridge(port=broker.port)
        wait_for(lambda: sequences(client))
        assert sequences(client) == [101]
    cursors.close()


def test_a_journal_that_is_replaced_is_read_from_its_beginning(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer, tmp_path: Path
) -> None:
    broker = make_mosquitto()
    with Client(broker.port).subscribe("event/#") as client:
        producer.write(20)
        make_bridge(port=broker.port)
        wait_for(lambda: len(sequences(client)) == 20)
        producer.close()
        for file in producer.path.parent.glob("journal.sqlite3*"):
            file.unlink()
        successor = Producer(tmp_path / "state")
        successor.write(5)
        wait_for(lambda: len(sequences(client)) == 25)
        assert sequences(client)[20:] == [1, 2, 3, 4, 5]
        successor.close()


def test_events_that_went_beyond_the_cap_unsent_are_counted(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    broker = make_mosquitto()
    producer = Producer(tmp_path / "state", max_entries=100)
    with Client(broker.port).subscribe("event/#") as client:
        producer.write(10)
        bridge = make_bridge(port=broker.port)
        wait_for(lambda: len(sequences(client)) == 10)
        bridge.stop()
        producer.write(500)
        producer.journal.enforce_caps()
        bridge = make_bridge(port=broker.port)
        beat = bridge.wait_for(lambda beat: beat.counters.get("delivered") == 100)
        assert beat.counters["missing"] == 400
        assert sequences(client)[10:] == list(range(411, 511))
    producer.close()


def test_a_cursor_that_can_not_be_saved_is_said_and_events_still_go(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer, tmp_path: Path
) -> None:
    broker = make_mosquitto()
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    (state / "bridge").write_text("a file where the folder should be")
    with Client(broker.port).subscribe("event/#") as client:
        bridge = make_bridge(port=broker.port)
        producer.write(5)
        wait_for(lambda: len(sequences(client)) == 5)
        bridge.wait("degraded", "can't be noted", "move it away")
        (state / "bridge").unlink()
        bridge.wait("ready")
