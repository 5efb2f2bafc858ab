"""What a carrier is. Standard library and NumPy alone: it also runs in the environment of the others."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

HEAD = struct.Struct("qq")
"""Before the pixels, where a carrier takes bytes: the frame's number and when it was begun."""
SILENCE_S = 5.0
"""A reader that hears nothing for so long is at its end."""
CONNECT_S = 20.0


class Arrived(NamedTuple):
    """A frame in a reader's hands."""

    number: int
    began_ns: int
    pixels: Any


class FrameSender(Protocol):
    def send(self, number: int, began_ns: int, pixels: Any) -> None: ...

    def close(self) -> None: ...


class FrameReceiver(Protocol):
    def frames(self) -> Iterator[Arrived]:
        """What comes, until nothing has come for SILENCE_S. Pixels hold until the next one is asked for."""
        ...


def packed(number: int, began_ns: int, pixels: Any) -> bytes:
    """The frame as bytes that begin with HEAD."""
    return b"".join((HEAD.pack(number, began_ns), memoryview(pixels).cast("B")))


def arrived(payload: Any, shape: tuple[int, int, int]) -> Arrived:
    """The frame in bytes that begin with HEAD."""
    import numpy as np

    number, began_ns = HEAD.unpack_from(payload)
    return Arrived(number, began_ns, np.frombuffer(payload, np.uint8, offset=HEAD.size).reshape(shape))


def retried(connect: Any, *problems: type[Exception]) -> Any:
    """What `connect` returns, as soon as it raises none of `problems` any more."""
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            return connect()
        except problems:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
