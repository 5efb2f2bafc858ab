"""Frames of one's choice for the recognizer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from messages.bus import Publisher, socket_path
from messages.health import Heartbeat, ServiceState
from messages.ring import RingWriter
from messages.vision import FrameReady
from services.capture.scene import Scene

Context = zmq.Context[zmq.Socket[bytes]]


class Camera:
    """Stands where capture stands: frames of one's choice, through the real ring and bus."""

    def __init__(self, context: Context, runtime: Path) -> None:
        self._publisher = Publisher(context, runtime / "run", "capture")
        self._writer = RingWriter(socket_path(runtime / "run", "capture", "ring"), (480, 640))
        self._frame_id = 0
        self._now_ns = 0

    def show(self, pixels: NDArray[np.uint8], view: str = "test") -> int:
        """One frame, now; returns its number."""
        self._frame_id += 1
        reference = self._writer.write(pixels)
        assert reference is not None
        self._publisher.publish(
            "frame",
            FrameReady(
                frame_id=self._frame_id,
                captured_ns=time.monotonic_ns(),
                view=view,
                ring=reference.ring,
                slot=reference.slot,
                generation=reference.generation,
                height=reference.height,
                width=reference.width,
            ),
        )
        self._publisher.answer_subscriptions()
        return self._frame_id

    def say(self, state: ServiceState, reason: str = "") -> None:
        """How it is, as capture would say it."""
        self._publisher.publish("health", Heartbeat(state=state, reason=reason, pid=1, uptime_s=1))
        self._publisher.answer_subscriptions()

    def close(self) -> None:
        self._writer.close()
        self._publisher.close()


@pytest.fixture
def camera(context: Context, runtime: Path) -> Iterator[Camera]:
    made = Camera(context, runtime)
    yield made
    made.close()


@pytest.fixture(scope="module")
def card() -> tuple[NDArray[np.uint8], str]:
    """A frame of the scene that shows one whole code, and that code."""
    scene = Scene(640, 480, 0)
    for index in range(0, 2000, 10):
        truth = scene.truth(index)
        if len(truth) == 1 and truth[0].complete and scene.truth(index + 10) and scene.truth(index - 10):
            return scene.frame(index), truth[0].digits
    raise AssertionError("the scene never shows one whole code")
