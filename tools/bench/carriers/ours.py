"""smartcar: the frame ring, and a Subscriber of `frame`, as services have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from messages.bus import Publisher, Subscriber, socket_path
from messages.ring import Announcement, FrameGone, RingReader, RingWriter
from messages.vision import FrameReady
from services.catalogue import SERVICES
from tools.bench.carriers.carrier import SILENCE_S, Arrived


class BusSender:
    def __init__(self, folder: str, shape: tuple[int, int, int], readers: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._publisher = Publisher(self._context, Path(folder), "capture")
        self._ring = RingWriter(socket_path(Path(folder), "capture", "ring"), shape[:2], readers + 2)

    def send(self, number: int, began_ns: int, pixels: Any) -> None:
        reference = self._ring.write(pixels, Announcement(number, began_ns, "bench"))
        self._publisher.answer_subscriptions()
        if reference is not None:
            self._publisher.offer(
                "frame",
                lambda: FrameReady(
                    frame_id=number, captured_ns=began_ns, view="bench", **reference._asdict()
                ),
            )

    def close(self) -> None:
        self._ring.close()
        self._publisher.close()
        self._context.destroy(linger=0)


class BusReceiver:
    def __init__(self, folder: str, shape: tuple[int, int, int]) -> None:
        self._subscriber = Subscriber(zmq.Context(), Path(folder), ["frame"], SERVICES)
        self._ring = RingReader(socket_path(Path(folder), "capture", "ring"))
        self._poller = zmq.Poller()
        for each in self._subscriber.sockets:
            self._poller.register(each, zmq.POLLIN)

    def frames(self) -> Iterator[Arrived]:
        while self._poller.poll(round(SILENCE_S * 1000)):
            for _, frame in self._subscriber.receive():
                try:
                    with self._ring.frame(frame) as pixels:
                        yield Arrived(frame.frame_id, frame.captured_ns, pixels)
                except FrameGone:
                    continue


SENDER, RECEIVER = BusSender, BusReceiver
