"""What is to stand retained is compared with what the broker has taken, until the two agree."""

from __future__ import annotations

import pytest

from messages.command import Reply
from messages.health import HEALTH, Heartbeat
from services.bridge.command_gateway import ReplyAddress
from services.bridge.connection import BrokerLimits
from services.bridge.reason_codes import AGAIN_S, PASSING_AGAIN_S
from services.bridge.state_mirror import StateMirror
from services.bridge.status_publisher import MAX_REPLIES, StatusPublisher
from services.metrics import Metrics

QUOTA_EXCEEDED, NOT_AUTHORISED = 151, 135


class Rig:
    """A publisher; the test is the session, the broker and the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_up = True
        self.sent: list[tuple[str, bytes]] = []
        self.metrics = Metrics()
        self.publisher = StatusPublisher(self, "car/", self.metrics, clock=lambda: self.now)  # type: ignore[arg-type]  # no more of the session is used
        self.publisher.session_up(BrokerLimits())

    def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, correlation: bytes = b""
    ) -> int | None:
        if not self.is_up:
            return None
        self.sent.append((topic, payload))
        return len(self.sent)

    def answer(self, code: int = 0, last: int = 1) -> None:
        self.publisher.acknowledged(len(self.sent) - last + 1, code)

    def say(self, payload: bytes, topic: str = "state") -> None:
        self.publisher.publish(topic, payload, retain=True)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.publisher.settle()

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.sent]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(("code", "again_s"), [(131, 10), (145, 10), (151, 10), (135, 60), (128, 60)])
def test_what_was_refused_is_sent_again_when_it_may_be(rig: Rig, code: int, again_s: float) -> None:
    rig.say(b"1")
    rig.answer(code)
    rig.later(again_s - 1)
    assert rig.payloads == [b"1"]
    assert "car/state" in rig.publisher.problem()
    rig.later(1)
    assert rig.payloads == [b"1", b"1"]
    assert rig.publisher.problem(), "until the broker has taken it"
    rig.answer()
    assert rig.publisher.problem() == ""
    rig.later(1000)
    assert rig.payloads == [b"1", b"1"]


def test_the_newest_is_sent_after_a_refusal(rig: Rig) -> None:
    rig.say(b"1")
    rig.answer(QUOTA_EXCEEDED)
    rig.say(b"2")
    rig.say(b"3")
    rig.later(PASSING_AGAIN_S)
    assert rig.payloads == [b"1", b"3"]


def test_the_remedy_is_the_acl_only_where_the_right_is_missing(rig: Rig) -> None:
    rig.say(b"1")
    rig.answer(QUOTA_EXCEEDED)
    assert "quota exceeded" in rig.publisher.problem()
    assert "ACL" not in rig.publisher.problem()
    rig.say(b"1", "other")
    rig.answer(NOT_AUTHORISED)
    assert "not authorised" in rig.publisher.problem()
    assert "publish below car/# (the broker's ACL)" in rig.publisher.problem()


def test_a_refused_topic_holds_up_no_other(rig: Rig) -> None:
    rig.say(b"1", "a")
    rig.answer(NOT_AUTHORISED)
    rig.say(b"2", "b")
    assert rig.sent == [("car/a", b"1"), ("car/b", b"2")]


def test_of_what_waits_for_one_topic_only_the_newest_is_sent(rig: Rig) -> None:
    for number in range(100):
        rig.say(b"%d" % number)
    assert rig.payloads == [b"0"]
    rig.answer()
    assert rig.payloads == [b"0", b"99"]


def test_all_that_is_not_refused_is_sent_again_in_a_new_session(rig: Rig) -> None:
    """Some brokers close the connection over a topic that is denied: it waits across sessions."""
    rig.say(b"1", "a")
    rig.answer(NOT_AUTHORISED)
    rig.say(b"2", "b")
    rig.answer()
    rig.is_up = False
    rig.say(b"3", "c")
    rig.later(AGAIN_S / 2)
    assert len(rig.sent) == 2
    rig.is_up = True
    rig.publisher.session_up(BrokerLimits())
    rig.publisher.settle()
    assert rig.sent[2:] == [("car/b", b"2"), ("car/c", b"3")]
    rig.later(AGAIN_S / 2)
    assert rig.sent[4:] == [("car/a", b"1")]


def test_a_topic_that_stays_denied_is_tried_ever_more_seldom(rig: Rig) -> None:
    rig.say(b"1")
    for seconds in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        sent = len(rig.sent)
        rig.answer(NOT_AUTHORISED)
        rig.later(seconds - 1)
        assert len(rig.sent) == sent
        rig.later(1)
        assert len(rig.sent) == sent + 1
    rig.answer()
    rig.say(b"2")
    rig.answer(NOT_AUTHORISED)
    rig.later(AGAIN_S)
    assert rig.payloads[-2:] == [b"2", b"2"]


def test_what_something_else_was_seen_on_is_sent_again(rig: Rig) -> None:
    rig.say(b"1")
    rig.answer()
    rig.publisher.contradicted("state")
    rig.publisher.settle()
    assert rig.payloads == [b"1", b"1"]


def test_replies_are_tried_once_each_and_not_without_end(rig: Rig) -> None:
    for number in range(2 * MAX_REPLIES):
        rig.publisher.reply(ReplyAddress("reply/a/b"), Reply.ok(str(number)))
    assert len(rig.sent) == MAX_REPLIES
    assert rig.metrics.counters["replies_dropped"] == MAX_REPLIES
    rig.answer(QUOTA_EXCEEDED)
    rig.publisher.reply(ReplyAddress("reply/a/b"), Reply.ok("next"))
    assert len(rig.sent) == MAX_REPLIES + 1
    assert rig.publisher.problem() == ""


def test_what_does_not_fit_is_counted_and_not_tried_for_ever(rig: Rig) -> None:
    rig.publisher.session_up(BrokerLimits(packet_bytes=200))
    rig.say(b"x" * 500)
    rig.later(1000)
    assert rig.sent == []
    assert rig.metrics.counters["too_large"] == 1
    large = Reply.ok("1").model_copy(update={"data": {"a": "x" * 500}})
    rig.publisher.reply(ReplyAddress("reply/a/b"), large)
    assert b"the broker takes 200" in rig.payloads[0]


def test_a_heartbeat_with_other_details_is_published(rig: Rig) -> None:
    mirror = StateMirror(rig.publisher.publish)
    for model in ("digits 1", "digits 1", "digits 2"):
        beat = Heartbeat(state="ready", pid=1, uptime_s=1, details={"model": model})
        mirror.take(HEALTH, beat.stamped("recognizer", "boot", 1))
        rig.answer()
    assert [b"digits 2" in payload for payload in rig.payloads] == [False, True]
