"""One thread's loop over sockets and timers: what a service is built on."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq


@dataclass(eq=False)
class _Timer:
    period_s: float
    due: float
    handler: Callable[[], None]
    once: bool = False


class Loop:
    """Calls handlers when a socket can be read or a time has come, one at a time, in one thread."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._on_readable: dict[Any, Callable[[], None]] = {}
        self._timers: list[_Timer] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._stopping = False
        self.on_readable(self._woken, self._wake)

    def every(self, period_s: float, handler: Callable[[], None]) -> None:
        """Call `handler` each `period_s` seconds; late calls are not made up for."""
        self._timers.append(_Timer(period_s, time.monotonic() + period_s, handler))

    def after(self, delay_s: float, handler: Callable[[], None]) -> None:
        """Call `handler` once, `delay_s` seconds from now."""
        self._timers.append(_Timer(0.0, time.monotonic() + delay_s, handler, once=True))

    def on_readable(self, readable: Any, handler: Callable[[], None]) -> None:
        """Call `handler` when a ZeroMQ socket, a file or a file descriptor can be read."""
        self._poller.register(readable, zmq.POLLIN)
        self._on_readable[_key(readable)] = handler

    def forget_readable(self, readable: Any) -> None:
        self._poller.unregister(readable)
        self._on_readable.pop(_key(readable), None)

    def call_soon(self, handler: Callable[[], None]) -> None:
        """Run `handler` in the loop; may be called from any thread."""
        self._calls.append(handler)
        self._wake_loop()

    def request_stop(self) -> None:
        """Leave the loop soon; may be called from any thread and from a signal handler."""
        self._stopping = True
        self._wake_loop()

    def run_loop(self) -> None:
        """Call handlers until `request_stop`. An exception in one ends the loop."""
        while not self._stopping:
            due = min((timer.due for timer in self._timers), default=math.inf)
            wait_s = min(due - time.monotonic(), 60.0)
            for readable, _ in self._poller.poll(max(0, math.ceil(wait_s * 1000))):
                handler = self._on_readable.get(_key(readable))
                if handler is not None:  # else an earlier handler of this round let it go
                    handler()
            now = time.monotonic()
            for timer in tuple(self._timers):
                if timer.due <= now:
                    if timer.once:
                        self._timers.remove(timer)
                    timer.due = max(timer.due + timer.period_s, now)
                    timer.handler()

    def close_loop(self) -> None:
        """Give the loop's own sockets back."""
        self._woken.close()
        self._waker.close()

    def _wake_loop(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full: it will wake anyway; closed: it is over

    def _wake(self) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            pass
        for _ in range(len(self._calls)):
            self._calls.popleft()()


def _key(readable: Any) -> Any:
    return (
        readable.fileno()
        if hasattr(readable, "fileno") and not isinstance(readable, zmq.Socket)
        else readable
    )
