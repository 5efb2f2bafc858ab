"""What the outbox does where the broker will not take an event: one, or any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from messages.journal import BACKLOG, Journal
from messages.message import encode
from messages.topics import topic
from messages.vision import ReadingEvent
from services.bridge.connection import Limits
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.cursor_store import CursorStore
from services.bridge.outbox import HOLD_S, SUSPECT_BYTES, SUSPECT_TIMES, Outbox
from services.metrics import Metrics
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import PREFIX, Client, Producer, sequences, without_repetition

NOT_AUTHORISED, TOO_LARGE, SERVER_BUSY = 135, 149, 137


class Desk:
    """An outbox over a real journal; the test is the broker and the clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.sent: list[bytes] = []
        self.metrics = Metrics()
        self.cursors = CursorStore(folder / "cursor.json")
        self.journal = Journal(folder / "journal.sqlite3")
        self.outbox = Outbox(
            {"recognizer": self.journal.path},
            self.cursors,
            "smartcar/car/",
            self._publish,
            self.metrics,
            clock=lambda: self.now,
        )

    def _publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int:
        assert (topic, qos, retain) == ("smartcar/car/event/reading", 1, False)
        self.sent.append(payload)
        return len(self.sent)

    def write(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.journal.append("reading.event", payload)

    def say(self, *events: ReadingEvent) -> None:
        """As a producer does: to the journal, then on the bus."""
        for event in events:
            self.journal.append("reading.event", encode(event))
            self.outbox.heard(topic("reading.event"), event)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The journal refuses what is written, as on a full disk."""
        with closing(sqlite3.connect(self.journal.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            yield

    @property
    def sequences(self) -> list[int]:
        """Of the events that were sent."""
        return [ReadingEvent.model_validate_json(payload).sequence for payload in self.sent]

    def answer(self, code: int = 0, last: int = 1) -> None:
        """The broker's answer to the message sent `last`."""
        self.outbox.acknowledged(len(self.sent) - last + 1, code)
        self.outbox.pump()

    @property
    def cursor(self) -> int | None:
        return self.cursors.get(self.journal.id)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.outbox.shut()
    made.journal.close()


def test_no_more_is_in_flight_than_the_broker_takes(desk: Desk) -> None:
    desk.write(*(b"%d" % number for number in range(20)))
    desk.outbox.open(Limits(in_flight=5))
    assert desk.sent == [b"0", b"1", b"2", b"3", b"4"]
    desk.answer(last=5)
    assert desk.sent[5:] == [b"5"]


def test_the_cursor_moves_without_a_gap(desk: Desk) -> None:
    desk.write(b"a", b"b", b"c")
    desk.outbox.open(Limits())
    desk.answer(last=1)
    desk.answer(last=2)
    assert desk.cursor is None
    desk.answer(last=3)
    assert desk.cursor == 3


def test_what_was_not_acknowledged_is_sent_again_in_its_order(desk: Desk) -> None:
    desk.write(b"a", b"b", b"c")
    desk.outbox.open(Limits())
    desk.outbox.acknowledged(2, 0)
    desk.outbox.close(ConnectionProblem("lost"))
    desk.outbox.open(Limits())
    assert desk.sent == [b"a", b"b", b"c", b"a", b"b", b"c"]
    assert desk.metrics.counters["resent"] == 3


def test_where_the_user_may_not_publish_events_wait_and_one_is_tried_from_time_to_time(desk: Desk) -> None:
    desk.write(b"a", b"b", b"c")
    desk.outbox.open(Limits())
    desk.answer(NOT_AUTHORISED, last=3)
    assert "smartcar/car/event/reading" in desk.outbox.problem
    assert "not authorised" in desk.outbox.problem
    assert "ACL" in desk.outbox.problem
    desk.now += HOLD_S - 1
    desk.outbox.wake()
    assert len(desk.sent) == 3
    desk.now += 2
    desk.outbox.wake()
    assert desk.sent[3:] == [b"a"]
    desk.answer()
    assert desk.outbox.problem == ""
    assert desk.sent[3:] == [b"a", b"b", b"c"]
    assert desk.cursor == 1


@pytest.mark.parametrize("code", [TOO_LARGE, 144, 153])
def test_an_event_that_the_broker_will_never_take_does_not_block_the_others(desk: Desk, code: int) -> None:
    desk.write(b"a", b"poison", b"c")
    desk.outbox.open(Limits())
    desk.answer(last=3)
    desk.answer(code, last=2)
    desk.answer(last=1)
    assert desk.cursor == 3
    assert desk.metrics.counters["skipped"] == 1
    assert desk.metrics.counters["delivered"] == 2


def test_an_event_larger_than_the_broker_says_it_takes_is_not_sent(desk: Desk) -> None:
    desk.write(b"a", b"x" * 5000, b"c")
    desk.outbox.open(Limits(packet_bytes=4096))
    assert desk.sent == [b"a", b"c"]
    desk.answer(last=2)
    desk.answer(last=1)
    assert desk.cursor == 3
    assert desk.metrics.counters["skipped"] == 1


def test_a_large_event_over_which_the_connection_breaks_again_and_again_is_given_up(desk: Desk) -> None:
    large = b"x" * SUSPECT_BYTES
    desk.write(large, b"b")
    for attempt in range(1 + SUSPECT_TIMES):
        desk.outbox.open(Limits())
        assert desk.sent[-1] == (b"b" if attempt == 0 else large)
        desk.outbox.close(ConnectionProblem("lost"))
    desk.outbox.open(Limits())
    assert desk.sent[-1] == b"b"
    desk.answer()
    assert desk.cursor == 2


def test_a_small_event_is_never_given_up_because_the_connection_breaks(desk: Desk) -> None:
    desk.write(b"a", b"b")
    for _ in range(3 * SUSPECT_TIMES):
        desk.outbox.open(Limits())
        desk.outbox.close(ConnectionProblem("lost"))
    assert "event/reading" in desk.outbox.problem
    desk.outbox.open(Limits())
    assert desk.sent[-1] == b"a"
    desk.answer()
    assert desk.outbox.problem == ""
    assert desk.sent[-1] == b"b"


def test_a_broker_that_is_busy_is_asked_again_later(desk: Desk) -> None:
    desk.write(b"a")
    desk.outbox.open(Limits())
    desk.answer(SERVER_BUSY)
    assert desk.cursor is None
    assert desk.outbox.backlog() == 1


def test_an_entry_of_a_topic_that_nobody_knows_any_more_is_skipped(desk: Desk) -> None:
    desk.journal.append("from.the.future", b"?")
    desk.write(b"a")
    desk.outbox.open(Limits())
    desk.answer()
    assert desk.sent == [b"a"]
    assert desk.cursor == 2


def test_a_real_broker_s_acl_is_said_with_the_remedy(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(
        "".join(f"topic readwrite smartcar/+/{each}\n" for each in ("status", "status/#", "info", "metrics"))
    )
    rules.chmod(0o644)
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rules}")
    producer.write(3)
    bridge = make_bridge(port=broker.port, protocol="5")
    bridge.wait("degraded", "event/reading", "not authorised", "ACL", "wait in the journal")
    bridge.stop()
    rules.write_text("topic readwrite smartcar/#\n")
    broker.stop()
    broker.start()
    with Client(broker.port).subscribe("event/#") as client:
        bridge.start()
        bridge.wait_for(lambda beat: beat.counters.get("delivered") == 3)
        assert sequences(client) == [1, 2, 3]


def test_a_topic_that_the_broker_denies_is_named_and_stops_no_event(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    allowed = "status", "status/#", "metrics", "event/#"
    rules.write_text("".join(f"topic readwrite smartcar/+/{each}\n" for each in allowed))
    rules.chmod(0o644)
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rules}")
    producer.write(3)
    with Client(broker.port).subscribe("event/#") as client:
        bridge = make_bridge(port=broker.port, protocol="5")
        bridge.wait("degraded", f"the broker refuses {PREFIX}info", f"publish below {PREFIX}#")
        bridge.wait_for(lambda beat: beat.counters.get("delivered") == 3)
        assert without_repetition(sequences(client)) == [1, 2, 3]


def test_a_real_broker_s_packet_limit_stops_one_event_and_no_other(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer
) -> None:
    broker = make_mosquitto("allow_anonymous true\nmax_packet_size 20000")
    producer.write(1)
    producer.journal.append("reading.event", b"x" * 30_000)
    producer.write(1)
    with Client(broker.port).subscribe("event/#") as client:
        bridge = make_bridge(port=broker.port, protocol="5")
        beat = bridge.wait_for(lambda beat: beat.counters.get("delivered") == 2)
        assert beat.counters["skipped"] == 1
        assert sequences(client) == [1, 2]


# What the journal can't take


@pytest.fixture
def events(tmp_path: Path) -> list[ReadingEvent]:
    producer = Producer(tmp_path / "elsewhere")
    written = producer.write(BACKLOG + 10)
    producer.close()
    return written


def test_what_the_journal_cannot_take_goes_from_memory_and_not_again_once_it_can(
    desk: Desk, events: list[ReadingEvent]
) -> None:
    desk.outbox.open(Limits())
    desk.say(events[0])
    with desk.full_disk():
        desk.say(*events[1:4])
        assert desk.sequences == [1, 2, 3, 4]
        for last in (4, 3, 2):
            desk.answer(last=last)
        assert desk.cursor == 1
        assert desk.outbox.backlog() == 1, "the one that is not acknowledged"
    desk.say(events[4])
    assert desk.sequences == [1, 2, 3, 4, 4, 5], "4 may have been lost"
    for last in (3, 2, 1):
        desk.answer(last=last)
    assert (desk.cursor, desk.outbox.backlog()) == (5, 0)


def test_what_waits_in_memory_goes_after_what_the_journal_has_and_again_after_a_break(
    desk: Desk, events: list[ReadingEvent]
) -> None:
    desk.say(events[0])
    with desk.full_disk():
        desk.say(*events[1:3])
        assert desk.outbox.backlog() == 3
        desk.outbox.open(Limits(in_flight=2))
        desk.outbox.close(ConnectionProblem("lost"))
        desk.outbox.open(Limits())
        assert desk.sequences == [1, 2, 1], "one at a time: something was wrong"
        desk.answer()
        assert desk.sequences == [1, 2, 1, 2, 3]
    desk.answer(last=2)
    desk.answer()
    assert desk.outbox.backlog() == 0


def test_of_what_waits_in_memory_the_journal_sends_what_it_takes_meanwhile(
    desk: Desk, events: list[ReadingEvent]
) -> None:
    with desk.full_disk():
        desk.say(*events[:2])
    desk.say(events[2])
    desk.outbox.open(Limits())
    assert desk.sequences == [1, 2, 3]


def test_memory_holds_as_many_as_the_producer(desk: Desk, events: list[ReadingEvent]) -> None:
    with desk.full_disk():
        for event in events:
            desk.outbox.heard(topic("reading.event"), event)
        assert desk.outbox.backlog() == BACKLOG
        desk.outbox.open(Limits(in_flight=1))
        while desk.outbox.backlog():
            desk.answer()
    assert desk.sequences == list(range(11, BACKLOG + 11))
