"""The bus between a publisher and subscribers, on real sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zmq

from messages.bus import Publisher, Subscriber, endpoint
from messages.errors import CannotStart
from messages.health import Heartbeat
from messages.lock import AlreadyOwned
from messages.vision import Box, FrameReady, ModelInfo, ReadingEvent
from tests.conftest import REPOSITORY, wait_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Context = zmq.Context[zmq.Socket[bytes]]


def heartbeat(reason: str = "") -> Heartbeat:
    return Heartbeat(state="ready", reason=reason, pid=1, uptime_s=0)


def frame(frame_id: int) -> FrameReady:
    return FrameReady(
        frame_id=frame_id, captured_ns=1, view="scene:", ring="r", slot=0, generation=1, height=2, width=2
    )


def event(text: str) -> ReadingEvent:
    return ReadingEvent(
        event_id="e", phase="new", text=text, confidence=1, digit_confidences=(1,),
        first_seen=NOW, last_seen=NOW, frames=3, frame_id=1,
        box=Box(x=0, y=0, width=1, height=1), model=ModelInfo(name="m", version="1", digest="d"),
        latency_ms=1,
    )  # fmt: skip


def received(publisher: Publisher, subscriber: Subscriber) -> list[tuple[str, Any]]:
    publisher.answer_subscriptions()
    return [(row.name, message) for row, message in subscriber.receive()]


def test_a_late_joiner_gets_the_last_value_unchanged(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    publisher.publish("health", heartbeat("first"))
    last = publisher.publish("health", heartbeat("last"))
    late = Subscriber(context, runtime, ["health"], ["capture"])
    [(name, message)] = wait_for(lambda: received(publisher, late))
    assert (name, message) == ("health", last)


def test_a_second_late_joiner_does_not_make_the_first_see_the_value_twice(
    context: Context, runtime: Path
) -> None:
    publisher = Publisher(context, runtime, "capture")
    publisher.publish("health", heartbeat())
    first = Subscriber(context, runtime, ["health"], ["capture"])
    wait_for(lambda: received(publisher, first))
    second = Subscriber(context, runtime, ["health"], ["capture"])
    wait_for(lambda: received(publisher, second))
    fresh = publisher.publish("health", heartbeat("fresh"))
    assert wait_for(lambda: received(publisher, first)) == [("health", fresh)]


def test_a_receiver_that_was_away_sees_only_the_newest_state(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    subscriber = Subscriber(context, runtime, ["frame"], ["capture"])
    publisher.publish("frame", frame(0))
    wait_for(lambda: received(publisher, subscriber))
    for number in range(1, 101):
        publisher.publish("frame", frame(number))
    seen: list[int] = []

    def newest_came() -> bool:
        seen.extend(message.frame_id for _, message in received(publisher, subscriber))
        return bool(seen) and seen[-1] == 100

    wait_for(newest_came)
    assert len(seen) < 100


def test_state_of_each_source_is_kept_apart(context: Context, runtime: Path) -> None:
    publishers = [Publisher(context, runtime, name) for name in ("capture", "recognizer")]
    subscriber = Subscriber(context, runtime, ["health"], ["capture", "recognizer"])
    for each in publishers:
        each.publish("health", heartbeat())
    sources: set[str] = set()

    def both_came() -> bool:
        for each in publishers:
            sources.update(message.source for _, message in received(each, subscriber))
        return sources == {"capture", "recognizer"}

    wait_for(both_came)


def test_events_come_all_in_order_and_a_gap_is_counted(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "recognizer")
    subscriber = Subscriber(context, runtime, ["reading.event"], ["recognizer"])
    seen: list[str] = []

    def joined() -> bool:
        publisher.publish("reading.event", event("0"))
        seen.extend(message.text for _, message in received(publisher, subscriber))
        return bool(seen)

    wait_for(joined)
    seen.clear()
    for number in range(1, 501):
        publisher.publish("reading.event", event(str(number)))

    def all_came() -> bool:
        seen.extend(message.text for _, message in received(publisher, subscriber) if message.text != "0")
        return len(seen) >= 500

    wait_for(all_came)
    assert seen == [str(number) for number in range(1, 501)]
    assert subscriber.missed["reading.event"] == 0
    publisher._sequences["reading.event"] += 7  # as if seven had been lost on the way
    publisher.publish("reading.event", event("9"))
    wait_for(lambda: received(publisher, subscriber))
    assert subscriber.missed["reading.event"] == 7


def test_one_topics_subscriber_does_not_hear_a_longer_name(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "recognizer")
    subscriber = Subscriber(context, runtime, ["reading", "pad.result"], ["recognizer", "pad"])
    subscriber.event_socket.connect(endpoint(runtime, "recognizer", "event"))
    subscriber.event_socket.setsockopt(zmq.SUBSCRIBE, b"reading\0")
    subscriber.event_socket.setsockopt(zmq.SUBSCRIBE, b"probe")

    def joined() -> bool:
        publisher._event_socket.send(b"probe")
        subscriber.receive()
        return subscriber.malformed["?"] > 0

    wait_for(joined)
    publisher.publish("reading.event", event("1"))
    publisher._event_socket.send(b"probe")
    before = subscriber.malformed["?"]
    heard: list[Any] = []

    def probe_came() -> bool:
        heard.extend(subscriber.receive())
        return subscriber.malformed["?"] > before

    wait_for(probe_came)
    assert heard == []


def test_rubbish_on_the_bus_is_counted_and_what_follows_is_heard(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    subscriber = Subscriber(context, runtime, ["frame"], ["capture"])
    publisher.publish("frame", frame(1))
    wait_for(lambda: received(publisher, subscriber))
    for count, rubbish in enumerate((b"", b"{", b'{"version": 99}', b"\xff" * 100), 1):
        publisher.state_socket.send(b"frame\0capture\0" + rubbish)
        wait_for(lambda: received(publisher, subscriber) or subscriber.malformed["frame"] == count)  # noqa: B023
    publisher.publish("frame", frame(2))
    assert wait_for(lambda: received(publisher, subscriber))[0][1].frame_id == 2


def test_a_restarted_publisher_is_heard_again_from_its_first_message(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    subscriber = Subscriber(context, runtime, ["health"], ["capture"])
    for _ in range(5):
        publisher.publish("health", heartbeat("before"))
    wait_for(lambda: received(publisher, subscriber))
    publisher.close()
    again = Publisher(context, runtime, "capture")
    again.publish("health", heartbeat("after"))
    assert wait_for(lambda: received(again, subscriber))[0][1].reason == "after"


def test_a_second_owner_is_refused_and_told_who_the_first_is(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    subscriber = Subscriber(context, runtime, ["health"], ["capture"])
    with pytest.raises(AlreadyOwned, match=rf"process {os.getpid()}"):
        Publisher(context, runtime, "capture")
    publisher.publish("health", heartbeat("still heard"))
    assert wait_for(lambda: received(publisher, subscriber))[0][1].reason == "still heard"


def test_the_lock_of_a_killed_owner_is_free(context: Context, runtime: Path) -> None:
    program = (
        "import sys, time, zmq; from pathlib import Path; import services.catalogue\n"
        "from messages.bus import Publisher\n"
        "p = Publisher(zmq.Context(), Path(sys.argv[1]), 'capture'); print('up', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(runtime)], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    owner.stdout.readline()
    with pytest.raises(AlreadyOwned, match=str(owner.pid)):
        Publisher(context, runtime, "capture")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    Publisher(context, runtime, "capture").close()


def test_a_foreign_topic_or_message_is_a_mistake_of_the_program(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    with pytest.raises(KeyError):
        publisher.publish("reading.event", event("1"))
    with pytest.raises(TypeError, match="FrameReady"):
        publisher.publish("frame", heartbeat())


def test_closing_leaves_no_socket_file(context: Context, runtime: Path) -> None:
    publisher = Publisher(context, runtime, "capture")
    assert (runtime / "capture" / "state").is_socket()
    publisher.close()
    context.destroy(linger=0)
    assert [path.name for path in (runtime / "capture").iterdir()] == ["lock"]


def test_a_runtime_folder_too_long_for_sockets_is_named() -> None:
    with pytest.raises(CannotStart, match=r"too long for sockets .*paths\.runtime"):
        endpoint(Path("/tmp") / ("x" * 100), "capture", "state")
