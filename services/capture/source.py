"""The base of every source of frames: it delivers them one after another, each when it is due."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:  # not for the service, which reads this module's limits alone
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"
"""A frame: BGR, (height, width, 3)."""
MAX_FRAME_PIXELS = 50_000_000
"""A picture that says it has more is left out before anything of it is decoded."""


class SourceError(Exception):
    """The source can't deliver; one sentence, what is wrong and what to do."""


class DamagedFrame(Exception):
    """This frame can't be shown; the next one may be whole. The message says what is wrong with it."""


class Frame(NamedTuple):
    """Pixels and the moment of their capture, CLOCK_MONOTONIC in ns."""

    pixels: Pixels
    captured_ns: int


class Source(ABC):
    """Delivers frames one after another, each when it is due."""

    live = False
    """Whether the frames come from the world, so that the same frame again and again is a fault."""
    name = ""
    """What it is called, where that isn't what it was opened by: which camera."""
    refused: tuple[str, ...] = ()
    """A sentence for each setting that the source doesn't take. It keeps its own."""
    view = ""
    """What the frames show now, where a source shows one thing after another: the photo's name."""
    remark = ""
    """A sentence about what is left out of the frames now, though they come."""
    on_decoding: Callable[[str], None] | None = None
    """Called with a photo's name before it is decoded, which may take seconds."""

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame, waiting until it is due; None at the end. Raises SourceError, DamagedFrame."""

    def close(self) -> None:  # noqa: B027  (most sources hold nothing)
        """Release the device or file."""


class Pace:
    """Lets a source that could run as fast as the processor run at its own speed."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._due = time.monotonic()

    def wait(self) -> None:
        """Until the next tick. After a long pause it goes on from now, and doesn't catch up."""
        now = time.monotonic()
        if self._due > now:
            time.sleep(self._due - now)
        self._due = max(self._due + self.period_s, now)


class Thinning:
    """Leaves out frames of a source that is faster than was asked for."""

    def __init__(self, hertz: float) -> None:
        self._period_ns = round(1e9 / hertz)
        self._due_ns = 0

    def wants(self, captured_ns: int) -> bool:
        """Whether the frame of this moment is due, half a period of jitter allowed."""
        if captured_ns < self._due_ns - self._period_ns // 2:
            return False
        self._due_ns = max(self._due_ns + self._period_ns, captured_ns)
        return True
