"""ZeroMQ alone: the pixels in a message over a Unix socket, the newest kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from tools.bench.carriers.carrier import SILENCE_S, Arrived, arrived, packed


class ZeroMqSender:
    def __init__(self, folder: str, shape: tuple[int, int, int], readers: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.sndhwm = 2
        self._socket.bind(f"ipc://{folder}/frames")

    def send(self, number: int, began_ns: int, pixels: Any) -> None:
        self._socket.send(packed(number, began_ns, pixels), copy=False)

    def close(self) -> None:
        self._context.destroy(linger=500)


class ZeroMqReceiver:
    def __init__(self, folder: str, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._socket = zmq.Context().socket(zmq.SUB)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.subscribe(b"")
        self._socket.connect(f"ipc://{folder}/frames")

    def frames(self) -> Iterator[Arrived]:
        while self._socket.poll(round(SILENCE_S * 1000)):
            yield arrived(self._socket.recv(copy=False).buffer, self._shape)


SENDER, RECEIVER = ZeroMqSender, ZeroMqReceiver
