"""iceoryx2: a slice in shared memory that the writer fills, and an event that wakes the readers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import Any

import iceoryx2 as iox2
import numpy as np

from tools.bench.carriers.carrier import HEAD, SILENCE_S, Arrived, arrived


def _services(folder: str) -> tuple[Any, Any, Any]:
    iox2.set_log_level(iox2.LogLevel.Error)
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
    name = os.path.basename(folder)
    frames = (
        node.service_builder(iox2.ServiceName.new(f"{name}/frames"))
        .publish_subscribe(iox2.Slice[ctypes.c_uint8])
        .max_subscribers(16)
        .subscriber_max_buffer_size(2)
        .open_or_create()
    )
    event = (
        node.service_builder(iox2.ServiceName.new(f"{name}/event")).event().max_listeners(16).open_or_create()
    )
    return node, frames, event


class IceoryxSender:
    def __init__(self, folder: str, shape: tuple[int, int, int], readers: int) -> None:
        self._size = HEAD.size + int(np.prod(shape))
        self._node, frames, event = _services(folder)
        self._publisher = frames.publisher_builder().initial_max_slice_len(self._size).create()
        self._notifier = event.notifier_builder().create()

    def send(self, number: int, began_ns: int, pixels: Any) -> None:
        sample = self._publisher.loan_slice_uninit(self._size)
        held = np.ctypeslib.as_array((ctypes.c_uint8 * self._size).from_address(sample.payload_ptr))
        HEAD.pack_into(held.data, 0, number, began_ns)
        held[HEAD.size :].reshape(pixels.shape)[...] = pixels
        sample.assume_init().send()
        self._notifier.notify()

    def close(self) -> None:
        pass


class IceoryxReceiver:
    def __init__(self, folder: str, shape: tuple[int, int, int]) -> None:
        self._shape, self._size = shape, HEAD.size + int(np.prod(shape))
        self._node, frames, event = _services(folder)
        self._subscriber = frames.subscriber_builder().create()
        self._listener = event.listener_builder().create()

    def frames(self) -> Iterator[Arrived]:
        silence = iox2.Duration.from_millis(round(SILENCE_S * 1000))
        while self._listener.timed_wait(silence):
            sample = self._subscriber.receive()
            while sample is not None:
                held = (ctypes.c_uint8 * self._size).from_address(sample.payload_ptr)
                yield arrived(held, self._shape)
                sample.delete()
                sample = self._subscriber.receive()


SENDER, RECEIVER = IceoryxSender, IceoryxReceiver
