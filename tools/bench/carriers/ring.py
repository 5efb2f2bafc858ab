"""smartcar's frame ring alone, for a program that wants frames and nothing else of the bus."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from messages.bus import socket_path
from messages.ring import Announcement, FrameGone, RingReader, RingWriter
from messages.ring_watch import RingWatch
from tools.bench.carriers.carrier import SILENCE_S, Arrived


class RingAloneSender:
    def __init__(self, folder: str, shape: tuple[int, int, int], readers: int) -> None:
        self._ring = RingWriter(socket_path(Path(folder), "capture", "ring"), shape[:2], readers + 2)

    def send(self, number: int, began_ns: int, pixels: Any) -> None:
        self._ring.write(pixels, Announcement(number, began_ns, "bench"))

    def close(self) -> None:
        self._ring.close()


class RingAloneReceiver:
    def __init__(self, folder: str, shape: tuple[int, int, int]) -> None:
        self._watch = RingWatch(socket_path(Path(folder), "capture", "ring"), "capture")
        self._ring = RingReader(socket_path(Path(folder), "capture", "ring"))
        self._watch.open()
        if self._watch.descriptor < 0:
            raise OSError("this user has no inotify instance left (fs.inotify.max_user_instances)")

    def frames(self) -> Iterator[Arrived]:
        poll = select.poll()
        poll.register(self._watch.descriptor, select.POLLIN)
        while poll.poll(round(SILENCE_S * 1000)):
            frame = self._watch.newest()
            try:
                if frame is not None:
                    with self._ring.frame(frame) as pixels:
                        yield Arrived(frame.frame_id, frame.captured_ns, pixels)
            except FrameGone:
                continue


SENDER, RECEIVER = RingAloneSender, RingAloneReceiver
