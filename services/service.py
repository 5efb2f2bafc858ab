"""The base of every service: one thread, one loop over sockets and timers, a heartbeat out of that loop."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import zmq

from messages.bus import Publisher, Subscriber, socket_path
from messages.disk import is_held_back, make_private, why_not
from messages.health import Heartbeat, ServiceState
from messages.journal import BACKLOG, Journal
from messages.message import Message
from messages.requests import AnyCommand, CommandServer, Handler
from services.config import Settings
from services.log import fields
from services.metrics import Metrics, ProcessorShare, memory_mb
from services.supervision import FailureNote, Starts, notify
from services.table import SERVICES

HEARTBEAT_S = 1.0
JOURNAL_AGAIN_S = 0.5
"""A journal that took nothing is tried again."""
DISK_LOOK_S = 3.0
MEMORY_EVERY_BEATS = 10
KEEP_DELIVERED = 500
"""Events that stay in a journal after the broker has them: for `smartcar events`, the page, a restart."""

log = logging.getLogger(__name__)


class CannotStart(RuntimeError):
    """The service can't run as things are; the message says why and what to do."""


@dataclass(eq=False)
class _Timer:
    period_s: float
    due: float
    handler: Callable[[], None]
    once: bool = False


class Service:
    """A process of the car. A subclass declares what it hears in `start`, and answers in handlers.

    Handlers run in the loop, one at a time, and return soon: the heartbeat comes out of the same loop, so
    a hung handler is a hung service to whoever watches. An exception in a handler ends the process; its
    supervisor starts it again.
    """

    name: ClassVar[str]
    has_journal: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runtime = settings.paths.runtime
        self.metrics = Metrics()
        self.details: dict[str, str] = {}
        """Goes out with every heartbeat: versions, addresses, what a person wants to know."""
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        _own_folder(self.runtime / self.name)
        self.publisher = Publisher(self.context, self.runtime, self.name)
        self.journal = self._open_journal() if self.has_journal else None
        self.publisher.journal = self.journal
        self.commands = CommandServer(self.context, self.runtime, self.name)
        self._poller = zmq.Poller()
        self._on_readable: dict[Any, Callable[[], None]] = {}
        self._timers: list[_Timer] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._stopping = False
        self._state: ServiceState = "starting"
        self._reason = ""
        self._started = time.monotonic()
        self._beats = 0
        self._memory_mb = 0.0
        self._processor = ProcessorShare()
        self._processor_percent = 0.0
        self._restarts = 0
        self.on_readable(self.publisher.state_socket, self.publisher.answer_subscriptions)
        self.on_readable(self.commands.socket, lambda: _ignore(self.commands.serve()))
        self.on_readable(self._woken, self._wake)
        self.every(HEARTBEAT_S, self._beat)
        self._held_back = is_held_back(settings.paths.state / self.name)
        self.every(JOURNAL_AGAIN_S, self._try_journal_again)
        self.every(DISK_LOOK_S, self._begin_anew_if_held_back)

    # what a subclass fills in

    def start(self) -> None:
        """Open what is needed and declare handlers. Raises CannotStart."""

    def stop(self) -> None:
        """Give back what `start` took. Also called when `start` failed half-way."""

    def helpers(self) -> Collection[int]:
        """Processes that live to work for this one: what they need counts as its own."""
        return ()

    # what a subclass uses

    def subscribe(self, handlers: dict[str, Callable[[Any], None]]) -> Subscriber:
        """Call `handlers[topic](message)` for what comes."""
        subscriber = Subscriber(self.context, self.runtime, handlers, SERVICES)

        def receive() -> None:
            for row, message in subscriber.receive():
                handlers[row.name](message)
            for name, count in subscriber.malformed.items():
                if self.metrics.counters[f"malformed.{name}"] == 0:
                    log.warning("a message on %s can't be read and was ignored", name)
                self.metrics.counters[f"malformed.{name}"] = count

        for each in subscriber.sockets:
            self.on_readable(each, receive)
        return subscriber

    def handle(self, command: type[AnyCommand], handler: Handler[AnyCommand]) -> None:
        """Answer a command with what `handler` returns, or with the CommandRefused that it raises."""
        self.commands.handle(command, handler)

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
        """Undo `on_readable`."""
        self._poller.unregister(readable)
        self._on_readable.pop(_key(readable), None)

    def call_soon(self, handler: Callable[[], None]) -> None:
        """Run `handler` in the loop; may be called from any thread."""
        self._calls.append(handler)
        self._wake_loop()

    def publish(self, topic: str, message: Message) -> Message:
        """Stamp and send; a journalled topic is written to the journal first. Returns what was sent."""
        return self.publisher.publish(topic, message)

    def report(self, state: ServiceState, reason: str = "") -> None:
        """Say how this service is. `reason`: one sentence, what is wrong and what to do."""
        if (state, reason) == (self._state, self._reason):
            return
        level = logging.WARNING if state in ("degraded", "failed") else logging.INFO
        log.log(level, "%s%s", state, f": {reason}" if reason else "", extra=fields(state=state))
        self._state, self._reason = state, reason
        self._publish_heartbeat({}, {})

    @property
    def state(self) -> ServiceState:
        return self._state

    @property
    def journal_problem(self) -> str:
        """Why events can't be written down now, and what becomes of them; empty where they can."""
        if self.journal is None or not self.journal.problem:
            return ""
        return (
            f"events can't be written to the journal: {self.journal.problem}. They are sent as they happen, "
            f"and the newest {BACKLOG} wait in memory, where a power cut would take them"
        )

    def request_stop(self) -> None:
        """Leave the loop soon; may be called from any thread and from a signal handler."""
        self._stopping = True
        self._wake_loop()

    # the loop

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop cleanly. This process is the service's alone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.request_stop())
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._restarts = Starts.count(self.runtime, self.name)
        try:
            self.serve()
        finally:
            signal.set_wakeup_fd(-1)

    def serve(self) -> None:
        """Run until `request_stop`, then stop cleanly. In the thread that made the service."""
        try:
            self._publish_heartbeat({}, {})
            self.start()
            FailureNote.clear(self.runtime, self.name)
            notify("READY=1")
            self._loop()
            notify("STOPPING=1")
            Starts.forget(self.runtime, self.name)
        except CannotStart:
            Starts.forget(self.runtime, self.name)
            raise
        finally:
            self.stop()
            self.close()

    def _loop(self) -> None:
        while not self._stopping:
            wait_s = min(timer.due for timer in self._timers) - time.monotonic()
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

    def close(self) -> None:
        """Say goodbye and close the sockets."""
        self.report("stopped")
        self.context.destroy(linger=200)
        self.commands.close()
        self.publisher.close()
        if self.journal is not None:
            self.journal.close()
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

    def _beat(self) -> None:
        notify("WATCHDOG=1")
        if self._beats % MEMORY_EVERY_BEATS == 0:
            self._memory_mb = round(memory_mb(self.helpers()), 1)
        self._processor_percent = round(self._processor.take(self.helpers()), 1)
        self._beats += 1
        if self.journal is not None:
            self._count_journal(self.journal)
        self._publish_heartbeat(*self.metrics.take())

    def _try_journal_again(self) -> None:
        if self.journal is not None and self.journal.problem:
            self.journal.flush()

    def _begin_anew_if_held_back(self) -> None:
        """A supervisor that gave this process a view of the disk gives the next one a fresh one."""
        if self._state != "degraded" or self._held_back:
            return
        if is_held_back(self.settings.paths.state / self.name):
            log.warning("the disk takes files again, but not from this process: another one begins")
            self.request_stop()

    def _count_journal(self, journal: Journal) -> None:
        """What of the journal did not go as it should."""
        counters = self.metrics.counters
        counters["journal_backlog"] = len(journal.backlog)
        counters["journal_lost"] = journal.lost
        counters["journal_discarded_unsent"] = journal.discarded_unsent
        if journal.recovered_from is not None:
            self.details["journal"] = f"was damaged; kept as {journal.recovered_from}"

    def _publish_heartbeat(self, rates: dict[str, float], latencies: dict[str, float]) -> None:
        self.publish(
            "health",
            Heartbeat(
                state=self._state,
                reason=self._reason,
                pid=os.getpid(),
                uptime_s=round(time.monotonic() - self._started, 1),
                rates=rates,
                counters=dict(self.metrics.counters),
                latency_ms=latencies,
                memory_mb=self._memory_mb,
                processor_percent=self._processor_percent,
                restarts=self._restarts,
                details=self.details,
            ),
        )

    def _open_journal(self) -> Journal:
        return open_journal(self.settings, self.name)


def journal_path(settings: Settings, service: str) -> Path:
    """Where the journal of `service` lies."""
    return settings.paths.state / service / "journal.sqlite3"


def open_journal(settings: Settings, service: str) -> Journal:
    """The journal of `service`, for its one writer. Raises AlreadyOwned."""
    return Journal(
        journal_path(settings, service),
        max_bytes=settings.journals.max_megabytes << 20,
        max_age_s=settings.journals.max_days * 86400,
        keep_delivered=KEEP_DELIVERED,
        shelter=socket_path(settings.paths.runtime, service, "unwritten.json"),
    )


def _own_folder(folder: Path) -> None:
    """Make the folder of the sockets, or see that it is ours. Raises CannotStart."""
    try:
        make_private(folder)
    except OSError as error:
        raise CannotStart(
            f"the folder {error.filename} can't be made ({error.strerror}); make it, or set paths.runtime"
        ) from error
    if folder.stat().st_uid not in (0, os.getuid()) and not os.access(folder.parent, os.W_OK):
        raise CannotStart(f"the folder {folder} belongs to another user; set paths.runtime")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotStart(why_not(folder / "lock", PermissionError(), "paths.runtime"))


def _key(readable: Any) -> Any:
    return (
        readable.fileno()
        if hasattr(readable, "fileno") and not isinstance(readable, zmq.Socket)
        else readable
    )


def _ignore(_: object) -> None:
    pass
