"""zenoh with shared memory, peer to peer over a Unix socket. Its Python copies the pixels in and out."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import zenoh

from tools.bench.carriers.carrier import HEAD, SILENCE_S, Arrived, arrived, retried

_KEY = "frames"


def _session(address: str, role: str) -> Any:
    config = zenoh.Config()
    config.insert_json5(f"{role}/endpoints", f'["{address}"]')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("transport/shared_memory/enabled", "true")
    return zenoh.open(config)


def _address(folder: str) -> str:
    return f"unixsock-stream/{folder}/zenoh"


class ZenohSender:
    def __init__(self, folder: str, shape: tuple[int, int, int], readers: int) -> None:
        self._size = HEAD.size + int(np.prod(shape))
        self._session = _session(_address(folder), "listen")
        self._publisher = self._session.declare_publisher(
            _KEY, congestion_control=zenoh.CongestionControl.DROP, express=True
        )
        self._provider = zenoh.shm.ShmProvider.default_backend(8 * self._size)

    def send(self, number: int, began_ns: int, pixels: Any) -> None:
        held = self._provider.alloc(self._size, policy=zenoh.shm.BlockOn(zenoh.shm.GarbageCollect()))
        held[0 : HEAD.size] = HEAD.pack(number, began_ns)
        held[HEAD.size : self._size] = pixels.tobytes()
        self._publisher.put(held)

    def close(self) -> None:
        self._session.close()


class ZenohReceiver:
    def __init__(self, folder: str, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._session = retried(lambda: _session(_address(folder), "connect"), zenoh.ZError)
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._subscriber = self._session.declare_subscriber(_KEY, self._arrived.put)

    def frames(self) -> Iterator[Arrived]:
        while True:
            try:
                sample = self._arrived.get(timeout=SILENCE_S)
            except queue.Empty:
                return
            yield arrived(sample.payload.to_bytes(), self._shape)


SENDER, RECEIVER = ZenohSender, ZenohReceiver
