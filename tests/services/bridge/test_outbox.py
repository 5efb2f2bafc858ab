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
from services.bridge.connection import BrokerLimits
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.cursor_store import CursorStore
from services.bridge.outbox import SUSPECT_BYTES, SUSPECT_TIMES, Outbox
from services.bridge.reason_codes import AGAIN_S
from services.metrics import Metrics
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import PREFIX, Client, Producer, sequences, without_repetition

NOT_AUTHORISED, TOO_LARGE, SERVER_BUSY = 135, 149, 137


class Rig:
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
        self.cursors.save()
        return self.cursors.saved.get(self.journal.id)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.outbox.shut()
    made.journal.close()


def test_no_more_is_in_flight_than_the_broker_takes(rig: Rig) -> None:
    rig.write(*(b"%d" % number for number in range(20)))
    rig.outbox.open(BrokerLimits(in_flight=5))
    assert rig.sent == [b"0", b"1", b"2", b"3", b"4"]
    rig.answer(last=5)
    assert rig.sent[5:] == [b"5"]


def test_the_cursor_moves_without_a_gap(rig: Rig) -> None:
    rig.write(b"a", b"b", b"c")
    rig.outbox.open(BrokerLimits())
    rig.answer(last=1)
    rig.answer(last=2)
    assert rig.cursor is None
    rig.answer(last=3)
    assert rig.cursor == 3


def test_what_was_not_acknowledged_is_sent_again_in_its_order(rig: Rig) -> None:
    rig.write(b"a", b"b", b"c")
    rig.outbox.open(BrokerLimits())
    rig.outbox.acknowledged(2, 0)
    rig.outbox.close(ConnectionProblem("lost"))
    rig.outbox.open(BrokerLimits())
    assert rig.sent == [b"a", b"b", b"c", b"a", b"b", b"c"]
    assert rig.metrics.counters["resent"] == 3


def test_where_the_user_may_not_publish_events_wait_and_one_is_tried_from_time_to_time(rig: Rig) -> None:
    rig.write(b"a", b"b", b"c")
    rig.outbox.open(BrokerLimits())
    rig.answer(NOT_AUTHORISED, last=3)
    assert "smartcar/car/event/reading" in rig.outbox.problem
    assert "not authorised" in rig.outbox.problem
    assert "ACL" in rig.outbox.problem
    rig.now += AGAIN_S - 1
    rig.outbox.wake()
    assert len(rig.sent) == 3
    rig.now += 2
    rig.outbox.wake()
    assert rig.sent[3:] == [b"a"]
    rig.answer()
    assert rig.outbox.problem == ""
    assert rig.sent[3:] == [b"a", b"b", b"c"]
    assert rig.cursor == 1


@pytest.mark.parametrize("code", [TOO_LARGE, 144, 153])
def test_an_event_that_the_broker_will_never_take_does_not_block_the_others(rig: Rig, code: int) -> None:
    rig.write(b"a", b"poison", b"c")
    rig.outbox.open(BrokerLimits())
    rig.answer(last=3)
    rig.answer(code, last=2)
    rig.answer(last=1)
    assert rig.cursor == 3
    assert rig.metrics.counters["skipped"] == 1
    assert rig.metrics.counters["delivered"] == 2


def test_an_event_larger_than_the_broker_says_it_takes_is_not_sent(rig: Rig) -> None:
    rig.write(b"a", b"x" * 5000, b"c")
    rig.outbox.open(BrokerLimits(packet_bytes=4096))
    assert rig.sent == [b"a", b"c"]
    rig.answer(last=2)
    rig.answer(last=1)
    assert rig.cursor == 3
    assert rig.metrics.counters["skipped"] == 1


def test_a_large_event_over_which_the_connection_breaks_again_and_again_is_given_up(rig: Rig) -> None:
    large = b"x" * SUSPECT_BYTES
    rig.write(large, b"b")
    for attempt in range(1 + SUSPECT_TIMES):
        rig.outbox.open(BrokerLimits())
        assert rig.sent[-1] == (b"b" if attempt == 0 else large)
        rig.outbox.close(ConnectionProblem("lost"))
    rig.outbox.open(BrokerLimits())
    assert rig.sent[-1] == b"b"
    rig.answer()
    assert rig.cursor == 2


def test_a_small_event_is_never_given_up_because_the_connection_breaks(rig: Rig) -> None:
    rig.write(b"a", b"b")
    for _ in range(3 * SUSPECT_TIMES):
        rig.outbox.open(BrokerLimits())
        rig.outbox.close(ConnectionProblem("lost"))
    assert "event/reading" in rig.outbox.problem
    rig.outbox.open(BrokerLimits())
    assert rig.sent[-1] == b"a"
    rig.answer()
    assert rig.outbox.problem == ""
    assert rig.sent[-1] == b"b"


def test_a_broker_that_is_busy_is_asked_again_later(rig: Rig) -> None:
    rig.write(b"a")
    rig.outbox.open(BrokerLimits())
    rig.answer(SERVER_BUSY)
    assert rig.cursor is None
    assert rig.outbox.backlog() == 1


def test_an_entry_of_a_topic_that_nobody_knows_any_more_is_skipped(rig: Rig) -> None:
    rig.journal.append("from.the.future", b"?")
    rig.write(b"a")
    rig.outbox.open(BrokerLimits())
    rig.answer()
    assert rig.sent == [b"a"]
    assert rig.cursor == 2


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
        # The broker closes the connection over the announcement, perhaps before it has acknowledged them.
        assert without_repetition(sequences(client)) == [1, 2, 3]


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
        bridge.wait("degraded", f"The broker refuses {PREFIX}info", f"publish below {PREFIX}#")
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
    rig: Rig, events: list[ReadingEvent]
) -> None:
    rig.outbox.open(BrokerLimits())
    rig.say(events[0])
    with rig.full_disk():
        rig.say(*events[1:4])
        assert rig.sequences == [1, 2, 3, 4]
        for last in (4, 3, 2):
            rig.answer(last=last)
        assert rig.cursor == 1
        assert rig.outbox.backlog() == 1, "the one that is not acknowledged"
    rig.say(events[4])
    assert rig.sequences == [1, 2, 3, 4, 4, 5], "4 may have been lost"
    for last in (3, 2, 1):
        rig.answer(last=last)
    assert (rig.cursor, rig.outbox.backlog()) == (5, 0)


def test_what_waits_in_memory_goes_after_what_the_journal_has_and_again_after_a_break(
    rig: Rig, events: list[ReadingEvent]
) -> None:
    rig.say(events[0])
    with rig.full_disk():
        rig.say(*events[1:3])
        assert rig.outbox.backlog() == 3
        rig.outbox.open(BrokerLimits(in_flight=2))
        rig.outbox.close(ConnectionProblem("lost"))
        rig.outbox.open(BrokerLimits())
        assert rig.sequences == [1, 2, 1], "one at a time: something was wrong"
        rig.answer()
        assert rig.sequences == [1, 2, 1, 2, 3]
    rig.answer(last=2)
    rig.answer()
    assert rig.outbox.backlog() == 0


def test_of_what_waits_in_memory_the_journal_sends_what_it_takes_meanwhile(
    rig: Rig, events: list[ReadingEvent]
) -> None:
    with rig.full_disk():
        rig.say(*events[:2])
    rig.say(events[2])
    rig.outbox.open(BrokerLimits())
    assert rig.sequences == [1, 2, 3]


def test_memory_holds_as_many_as_the_producer(rig: Rig, events: list[ReadingEvent]) -> None:
    with rig.full_disk():
        for event in events:
            rig.outbox.heard(topic("reading.event"), event)
        assert rig.outbox.backlog() == BACKLOG
        rig.outbox.open(BrokerLimits(in_flight=1))
        while rig.outbox.backlog():
            rig.answer()
    assert rig.sequences == list(range(11, BACKLOG + 11))
