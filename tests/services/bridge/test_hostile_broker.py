"""Whatever a broker sends, refuses or leaves unanswered, the bridge goes on and says what is so."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from messages.message import new_ulid
from services.bridge import connection, reason_codes
from services.bridge.connection import BrokerLimits, Connection
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.session import Session
from services.config import Mqtt
from tests.conftest import wait_for
from tests.services.bridge.conftest import MakeBridge
from tests.services.bridge.fake_broker import CLOSE, NO_ANSWER, FakeBroker
from tests.services.bridge.kit import PREFIX
from tests.services.bridge.test_command_gateway import Capture, capture

__all__ = ["capture"]

QUOTA_EXCEEDED, NOT_AUTHORISED = 151, 135


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as made:
        yield made


def answered(broker: FakeBroker, command_id: str) -> bool:
    return any(
        json.loads(payload)["id"] == command_id for payload, _ in broker.on(f"{PREFIX}reply/capture/pause")
    )


def still_takes_commands(broker: FakeBroker, command_id: str = "after") -> None:
    broker.deliver(f"{PREFIX}cmd/capture/pause", json.dumps({"id": command_id}).encode())
    wait_for(lambda: answered(broker, command_id), what="the answer to a command")
    assert broker.sessions == 1


@pytest.mark.parametrize(
    "topic",
    [
        f"{PREFIX}cmd/a",
        f"{PREFIX}cmd/a/b/c",
        f"{PREFIX}cmd/",
        f"{PREFIX}cmd//",
        f"{PREFIX}cmd/" + "a" * 60_000 + "/b",
        f"{PREFIX}status",
        "smartcar/models/x/offer",
        "smartcar/models/x/chunk/y/z",
        "homeassistant/status",
        "elsewhere",
        b"",
        b"\xff\xfe",
        PREFIX.encode() + b"cmd/capture/\xed\xa0\x80",
    ],
    ids=repr,
)
def test_a_topic_that_was_not_asked_for_is_left_out(
    broker: FakeBroker, make_bridge: MakeBridge, capture: Capture, topic: str | bytes
) -> None:
    make_bridge(port=broker.port).wait("ready")
    for payload in (b"{}", b"", b'{"state": "lost"}', b"\xff", b"[" * 10_000):
        broker.deliver(topic, payload)
    still_takes_commands(broker)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("announced", b"homeassistant/device/smartcar-test\xe1r/config"),
        ("cursor.json", b"\xff\xfe"),
        ("cursor.json", b"[" * 100_000),
        ("cursor.json", b'{"delivered": {"a": 1e999}}'),
        ("cursor.json", b'{"delivered": {"a": -1, "b": 1' + b"0" * 400 + b"}}"),
        ("cursor.json", b'{"delivered": [1], "boots": 3}'),
    ],
)
def test_a_damaged_file_of_its_own_does_not_keep_it_from_the_broker(
    broker: FakeBroker, make_bridge: MakeBridge, tmp_path: Path, file: str, content: bytes
) -> None:
    folder = tmp_path / "state" / "bridge"
    folder.mkdir(parents=True)
    (folder / file).write_bytes(content)
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    bridge.wait_for(lambda beat: "told of this car" in beat.details.get("home_assistant", ""))
    assert broker.sessions == 1


def test_one_refused_reply_keeps_no_other_from_its_asker(
    broker: FakeBroker, make_bridge: MakeBridge, capture: Capture
) -> None:
    refused: list[bytes] = []

    def answer(topic: str, payload: bytes) -> int:
        if "/reply/" in topic and not refused:
            refused.append(payload)
            return QUOTA_EXCEEDED
        return 0

    broker.answer = answer
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    for number in range(4):
        broker.deliver(f"{PREFIX}cmd/capture/pause", json.dumps({"id": f"n{number}"}).encode())
    wait_for(lambda: all(answered(broker, f"n{number}") for number in range(4)))
    bridge.wait_for(lambda beat: beat.counters.get("replies_refused") == 1)
    assert len(broker.on(f"{PREFIX}reply/capture/pause")) == 4, "each is tried once"


def test_a_status_that_an_earlier_process_left_is_nobody(make_bridge: MakeBridge) -> None:
    """The first session breaks before anything is acknowledged; the second finds what stands there."""
    left = {"state": "stopped", "session": "01" + "A" * 24, "bridge": "01" + "A" * 23 + "B"}
    with FakeBroker({f"{PREFIX}status": json.dumps(left).encode()}) as broker:
        broker.welcome = lambda session: session > 1
        bridge = make_bridge(port=broker.port)
        bridge.wait("ready")
        assert broker.sessions == 2
        assert not any("Another client" in reason for reason in bridge.said)


def test_whoever_writes_on_a_car_s_status_does_not_make_it_give_way(
    broker: FakeBroker, make_bridge: MakeBridge, capture: Capture
) -> None:
    bridge = make_bridge(port=broker.port)
    bridge.wait("ready")
    for number in range(5):
        false = {"state": "ready", "session": f"7{number}" + "Z" * 24, "bridge": "0"}
        broker.deliver(f"{PREFIX}status", json.dumps(false).encode())
    still_takes_commands(broker)
    assert not any("Another client" in reason for reason in bridge.said)


# a connection and a session in this process


class Listener:
    """Whom a connection and a session tell; notes all."""

    def __init__(self) -> None:
        self.happened: list[object] = []
        self.up = 0

    def connected(self, limits: BrokerLimits) -> None:
        self.up += 1

    def session_up(self, session_id: str, limits: BrokerLimits) -> None:
        self.up += 1

    def acknowledged(self, handle: int, code: int) -> None:
        self.happened.append((handle, code))

    def subscription_answered(self, pattern: str, code: int) -> None:
        self.happened.append((pattern, code))

    def message_came(self, message: object) -> None:
        self.happened.append("message")

    def ended(self, why: ConnectionProblem) -> None:
        self.happened.append(why.reason)

    def session_down(self, why: ConnectionProblem) -> None:
        self.happened.append(why.reason)


class Line:
    """A connection to a broker, whose news are read by `wait_for`."""

    def __init__(self, port: int, **settings: object) -> None:
        self.news = threading.Event()
        self.listener = Listener()
        mqtt = Mqtt.model_validate({"host": "127.0.0.1", "port": port, "protocol": "5", **settings})
        self.connection = Connection(mqtt, "line", will=("will", b""), wake=self.news.set)
        wait_for(lambda: self.read().up)

    def read(self) -> Listener:
        while self.connection.tell_next(self.listener):
            pass
        return self.listener

    def happened(self, what: str) -> bool:
        return any(isinstance(each, str) and what in each for each in self.read().happened)


@pytest.fixture
def line(broker: FakeBroker) -> Iterator[Line]:
    made = Line(broker.port)
    yield made
    made.connection.leave()


def test_a_broker_that_acknowledges_nothing_ends_the_session(
    broker: FakeBroker, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNANSWERED_S", 0.2)
    broker.answer = lambda topic, payload: NO_ANSWER
    line.connection.publish("a", b"1")
    wait_for(lambda: line.happened("has acknowledged nothing"))


def test_answers_to_pings_are_no_acknowledgement(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNANSWERED_S", 2.5)
    broker.answer = lambda topic, payload: NO_ANSWER
    line = Line(broker.port, keepalive=2)
    line.connection.publish("a", b"1")
    wait_for(lambda: line.happened("has acknowledged nothing"))


def test_a_broker_that_answers_no_subscription_ends_the_session(
    broker: FakeBroker, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNANSWERED_S", 0.2)
    broker.answer_subscription = lambda pattern: NO_ANSWER
    line.connection.subscribe("a")
    wait_for(lambda: line.happened("has acknowledged nothing"))


def test_a_broker_that_is_slow_but_answers_in_order_is_waited_for(
    broker: FakeBroker, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNANSWERED_S", 2.0)

    def slowly(topic: str, payload: bytes) -> int:
        time.sleep(0.5)
        return 0

    broker.answer = slowly
    for number in range(8):  # 4 s together
        line.connection.publish("a", b"%d" % number)
    wait_for(lambda: len(line.read().happened) == 8)
    assert line.listener.happened == [(handle, 0) for handle in range(1, 9)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_packet_beyond_what_a_command_may_have_ends_the_session_before_it_is_read(
    broker: FakeBroker, protocol: str
) -> None:
    line = Line(broker.port, protocol=protocol)
    broker.send_raw(b"\x30\xff\xff\xff\x7f" + b"\0\1a" + b"x" * 1000)  # 256 MiB are to follow
    wait_for(lambda: line.happened("sent a packet of 268435455 bytes"))


@pytest.mark.parametrize(
    "packet",
    [b"\x20\x02\0\0", b"\x90\x03\0\1\0", b"\x90\x02\0\1", b"\x40\x04\0\1\0\0", b"\xf0\0", b"\x30\x03\0\x10a",
     b"\x40\x04\0\1\x99\xff", b"\xe0\x02\x99\xff", b"\x00\xff\xff\xff\xff\xff", b"\x30\x05\0\1a\x7f\xff"],
    ids=bytes.hex,
)  # fmt: skip
def test_a_broken_packet_ends_no_more_than_the_session(broker: FakeBroker, line: Line, packet: bytes) -> None:
    broker.send_raw(packet)
    line.connection.publish("a", b"1")
    wait_for(lambda: line.read().happened, what="an answer, or the end")


@pytest.fixture
def session(broker: FakeBroker) -> Iterator[Session]:
    mqtt = Mqtt(host="127.0.0.1", port=broker.port)
    listener = Listener()
    made = Session(mqtt, "session", "status", lambda _: b"lost", listener, lambda: None)

    def turn() -> bool:
        made.tick()
        made.dispatch()
        return made.is_up

    wait_for(turn)
    yield made
    made.close("status", b"stopped")


def test_a_refused_subscription_is_asked_for_again(
    broker: FakeBroker, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reason_codes, "PASSING_AGAIN_S", 0.1)
    broker.answer_subscription = lambda pattern: QUOTA_EXCEEDED if len(broker.subscribed) == 1 else 1
    session.subscribe("commands")

    def asked_again() -> bool:
        session.dispatch()
        session.tick()
        return len(broker.subscribed) == 2

    wait_for(asked_again)


def test_a_connection_that_the_broker_closes_is_no_clean_end(broker: FakeBroker, line: Line) -> None:
    broker.answer = lambda topic, payload: CLOSE
    line.connection.publish("a", new_ulid().encode())
    wait_for(lambda: line.happened("was lost"))
