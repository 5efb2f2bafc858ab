"""Frames that the ring itself announces: who watches is woken, and who does not still hears of them."""

from __future__ import annotations

import select
import shutil
from pathlib import Path

import numpy as np
import pytest
import zmq

from messages.bus import Publisher, Subscriber, socket_path
from messages.ring import Announcement, RingReader, RingWriter
from messages.ring_file import MAX_VIEW_BYTES
from messages.ring_watch import RingWatch
from messages.vision import FrameReady
from tests.conftest import wait_for

Context = zmq.Context[zmq.Socket[bytes]]
PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "ring"
    made.mkdir()
    return made


def is_woken(watch: RingWatch) -> bool:
    return bool(select.select([watch.descriptor], [], [], 0)[0])


def opened(folder: Path) -> RingWatch:
    watch = RingWatch(folder, "capture")
    watch.open()
    assert watch.is_open
    return watch


def test_who_watches_is_woken_and_finds_the_frame_with_what_was_announced(folder: Path) -> None:
    writer, watch = RingWriter(folder, (4, 6)), opened(folder)
    writer.write(PIXELS)
    assert not is_woken(watch), "a frame that is not announced"
    reference = writer.write(PIXELS, Announcement(7, 123, "scene:é"))
    assert reference is not None
    assert is_woken(watch)
    frame = watch.newest()
    assert frame is not None
    assert FrameReady.model_validate_json(frame.model_dump_json()) == frame
    assert (frame.frame_id, frame.captured_ns, frame.view, frame.source) == (7, 123, "scene:é", "capture")
    assert {name: getattr(frame, name) for name in reference._fields} == reference._asdict()
    with RingReader(folder).frame(frame) as pixels:
        assert np.array_equal(pixels, PIXELS)
    assert not is_woken(watch)
    assert watch.newest() is None
    watch.close()
    writer.close()


def test_who_was_away_finds_the_newest_alone(folder: Path) -> None:
    writer, watch = RingWriter(folder, (4, 6)), opened(folder)
    for number in range(1, 500):
        writer.write(PIXELS, Announcement(number, number, ""))
    frame = watch.newest()
    assert frame is not None
    assert frame.frame_id == 499
    assert watch.newest() is None
    watch.close()
    writer.close()


def test_a_writer_after_another_is_followed(folder: Path) -> None:
    watch = RingWatch(folder, "capture")
    for number in (1, 2):
        writer = RingWriter(folder, (4, 6))  # removes the one before
        assert watch.newest() is None
        assert not watch.is_open
        watch.open()
        writer.write(PIXELS, Announcement(number, number, ""))
        frame = watch.newest()
        assert frame is not None
        assert (frame.frame_id, frame.ring) == (number, writer.id)
    watch.close()
    writer.close()


def test_a_long_view_is_shortened_and_no_character_is_torn(folder: Path) -> None:
    writer, watch = RingWriter(folder, (4, 6)), opened(folder)
    writer.write(PIXELS, Announcement(1, 1, "a" + "é" * MAX_VIEW_BYTES))
    frame = watch.newest()
    assert frame is not None
    assert frame.view == "a" + "é" * (MAX_VIEW_BYTES // 2 - 1)
    watch.close()
    writer.close()


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(8192), b"\xff" * 8192])
def test_what_is_no_ring_announces_nothing(folder: Path, content: bytes) -> None:
    watch = opened(folder)
    (folder / f"frames-{'0' * 16}.ring").write_bytes(content)
    (folder / "x").write_bytes(b"another name")
    while is_woken(watch):
        assert watch.newest() is None
    watch.close()


def test_a_subscriber_takes_the_ring_s_way_and_the_bus_s_where_there_is_none(
    context: Context, runtime: Path
) -> None:
    publisher = Publisher(context, runtime, "capture")
    folder = socket_path(runtime, "capture", "ring")
    subscriber = Subscriber(context, runtime, ["frame"], ["capture"])
    seen: list[int] = []

    def send(number: int, *, announced: bool) -> None:
        told = Announcement(number, 1, "test")
        reference = writer.write(PIXELS, told if announced else None)
        assert reference is not None
        publisher.offer("frame", lambda: FrameReady(**told._asdict(), **reference._asdict()))

    def came(number: int) -> bool:
        publisher.answer_subscriptions()
        seen.extend(message.frame_id for _, message in subscriber.receive())
        return number in seen

    writer = RingWriter(folder, (4, 6))
    send(1, announced=True)
    wait_for(lambda: came(1))  # by the bus: there was no folder to watch
    send(2, announced=True)
    wait_for(lambda: came(2))  # by the ring
    wait_for(lambda: came(2) and b"frame\0" not in publisher._subscribed)
    send(3, announced=False)
    publisher.answer_subscriptions()
    assert subscriber.receive() == [], "the ring alone is listened to"
    plain = context.socket(zmq.SUB)  # a program that knows nothing of the ring
    plain.linger = 0
    plain.subscribe(b"frame\0")
    plain.connect(f"ipc://{socket_path(runtime, 'capture', 'state')}")
    wait_for(lambda: came(2) and plain.poll(10))
    assert FrameReady.model_validate_json(plain.recv().split(b"\0", 2)[2]).frame_id == 3
    send(4, announced=True)
    assert plain.poll(5000)
    wait_for(lambda: came(4))
    writer.close()
    shutil.rmtree(folder)  # as systemd does where a service stops
    wait_for(lambda: came(4) and subscriber._frames_by_socket)
    writer = RingWriter(folder, (4, 6))

    def comes_again() -> bool:
        send(5, announced=True)
        return came(5)

    wait_for(comes_again)
    assert seen == sorted(set(seen)), "none came twice"
    plain.close()
    subscriber.close()
    writer.close()
    publisher.close()


def test_a_watch_that_nobody_closes_gives_its_descriptor_back(folder: Path) -> None:
    """A user has 128 of them as a rule; then frames come by the bus alone."""
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    for _ in range(most + 1):
        watch = RingWatch(folder, "capture")
        assert watch.descriptor >= 0
