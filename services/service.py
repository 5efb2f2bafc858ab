"""The base of every service: its class head is its contract, and what all services do is done here.

class HornService(Service):
    name = "horn"
    about = "sounds the horn"
    publishes = (HORN_STATE,)
    handles = {HornSound: "sound"}
    peers = {"recognizer": ()}

    def sound(self, command: HornSound) -> None: ...
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

import zmq

from messages.bus import Publisher, Subscriber
from messages.command import Command, Door
from messages.disk import is_held_back
from messages.errors import CannotStart
from messages.health import HEALTH, Heartbeat, JournalCursor, ServiceState
from messages.journal import BACKLOG, Journal
from messages.message import AnyMessage
from messages.rpc.server import CommandServer
from messages.topics import Topic
from services.config import Section, Settings
from services.journals import open_journal
from services.log import fields
from services.loop import Loop
from services.metrics import Metrics, Vitals
from services.peers import Peers
from services.supervision import FailureNote, Starts, notify, own_folder

__all__ = ["ALWAYS", "SERVICES", "CannotStart", "Runs", "Service"]

HEARTBEAT_S = 1.0
JOURNAL_AGAIN_S = 0.5
"""A journal that took nothing is tried again."""
DISK_LOOK_S = 3.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runs:
    """When a service has something to do; else it is `off`, for the reason `otherwise`."""

    when: Callable[[Settings], bool]
    otherwise: str


ALWAYS = Runs(lambda _: True, "")


class Service(Loop):
    """A process of the car. A subclass declares its contract in its head, and builds its parts in `start`.

    Handlers run in the loop, one at a time, and return soon: the heartbeat comes out of the same loop, so
    a hung handler is a hung service to whoever watches. What comes from outside (a command, a message) ends
    by itself where its handler raises; any other exception ends the process, and its supervisor starts it
    again. A head is read by every program, so OpenCV and the like are imported in `start`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    section: ClassVar[type[Section] | None] = None
    """Its section of the settings."""
    publishes: ClassVar[tuple[Topic, ...]] = ()
    """Its topics, besides `health`. Delivery, journal and MQTT mirror stand in the topic's row."""
    handles: ClassVar[Mapping[type[Command], str]] = {}
    """Its commands, each with the name of the method that carries it out; dots lead into the parts that
    `start` has built. Which doors a command may come through stands on its class."""
    peers: ClassVar[Mapping[str, tuple[type[Command], ...]]] = {}
    """The services that it needs, and what it asks of each."""
    door: ClassVar[Door | None] = None
    """It passes on the commands that come through this door."""
    runs: ClassVar[Runs] = ALWAYS

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.runtime = settings.paths.runtime
        self.metrics = Metrics()
        self.details: dict[str, str] = {}
        """Goes out with every heartbeat: versions, addresses, what a person wants to know."""
        self.crashed = False
        """Whether an exception ends this process, while `on_stop` cleans up."""
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        own_folder(self.runtime / self.name)
        self._peers = Peers(self, self.context, self.runtime, self.peers, forwards=self.door is not None)
        self.presence = self._peers.presence
        """Of each peer."""
        self.ask = self._peers.ask
        self.publisher = Publisher(self.context, self.runtime, self.name)
        has_journal = any(row.journalled for row in self.publishes)
        self.journal = open_journal(settings, self.name) if has_journal else None
        self.publisher.journal = self.journal
        self.commands = CommandServer(self.context, self.runtime, self.name, self._item_failed)
        self._clean_up = ExitStack()
        self._failed_before: set[tuple[str, type[Exception]]] = set()
        self._state: ServiceState = "starting"
        self._reason = ""
        self._started = time.monotonic()
        self._vitals = Vitals()
        self._restarts = 0
        self.on_readable(self.publisher.state_socket, self.publisher.answer_subscriptions)
        self.on_readable(self.commands.socket, self._serve_commands)
        self.every(HEARTBEAT_S, self._beat)
        self._held_back = is_held_back(settings.paths.state / self.name)
        self.every(JOURNAL_AGAIN_S, self._try_journal_again)
        self.every(DISK_LOOK_S, self._restart_if_namespace_is_stale)

    # what a subclass fills in

    def start(self) -> None:
        """Build the parts and declare what is to be cleaned up. Raises CannotStart."""

    def helpers(self) -> Collection[int]:
        """Processes that live to work for this one: what they need counts as its own."""
        return ()

    def peer_heard(self, beat: Heartbeat, *, came: bool) -> None:
        """A peer has sent a heartbeat, of which `presence` knows; `came`: the first, or after a pause."""

    # what a subclass uses

    def on_stop(self, undo: Callable[[], object]) -> None:
        """Call `undo` when the service ends, the last one first, also where `start` failed half-way."""
        self._clean_up.callback(undo)

    def subscribe(self, handlers: dict[str, Callable[[Any], None]]) -> Subscriber:
        """Call `handlers[topic](message)` for what comes; a message whose handler raises is passed over."""
        subscriber = Subscriber(self.context, self.runtime, handlers, SERVICES)

        def receive() -> None:
            for row, message in subscriber.receive():
                with self.item(row.name):
                    handlers[row.name](message)
            for name, count in subscriber.malformed.items():
                if self.metrics.counters[f"malformed.{name}"] == 0:
                    log.warning("a message on %s can't be read and was ignored", name)
                self.metrics.counters[f"malformed.{name}"] = count

        for each in subscriber.sockets:
            self.on_readable(each, receive)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Undo `subscribe`."""
        for each in subscriber.sockets:
            self.forget_readable(each)
        subscriber.close()

    @contextmanager
    def item(self, what: str) -> Iterator[None]:
        """Around what is done for one item from outside: an exception ends the item, not this process.

        It is counted as `errors.<what>`, and the first of its kind is logged with its traceback.
        """
        try:
            yield
        except CannotStart:
            raise
        except Exception as error:
            self._item_failed(what, error)

    def publish(self, topic: str, message: AnyMessage) -> AnyMessage:
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
            f"Events can't be written to the journal: {self.journal.problem}. They are sent as they happen, "
            f"and the newest {BACKLOG} wait in memory, where a power cut would take them."
        )

    # from start to end

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
        """Run until `request_stop`, then stop cleanly. In the thread that made the service.

        Only a service that was asked to stop says `stopped`; one that an exception ends says `failed`.
        """
        try:
            with self._clean_up:
                self._work()
        except Exception as error:
            self.report("failed", str(error) if isinstance(error, CannotStart) else _crash(error))
            if isinstance(error, CannotStart):
                Starts.forget(self.runtime, self.name)
            raise
        else:
            self.report("stopped")
        finally:
            self._close()

    def _work(self) -> None:
        self._publish_heartbeat({}, {})
        try:
            if self.runs.when(self.settings):
                self._listen_to_peers()
                self.start()
                for command, method in self.handles.items():
                    self.commands.handle(command, attrgetter(method)(self))
            else:
                self.report("off", self.runs.otherwise)
            FailureNote.clear(self.runtime, self.name)
            notify("READY=1")
            self.run_loop()
            notify("STOPPING=1")
            Starts.forget(self.runtime, self.name)
        except BaseException:
            self.crashed = True
            raise

    def _close(self) -> None:
        self.context.destroy(linger=200)
        self.commands.close()
        self.publisher.close()
        if self.journal is not None:
            self.journal.close()
        self.close_loop()

    # for all services

    def _listen_to_peers(self) -> None:
        topics: dict[str, Callable[[Any], None]] = {}
        if self.peers:
            topics[HEALTH.name] = self._heard
        if self.journal is not None:
            topics["bridge.cursor"] = self._prune
        if topics:
            self.subscribe(topics)

    def _heard(self, beat: Heartbeat) -> None:
        came = self._peers.heard(beat)
        if came is not None:
            self.peer_heard(beat, came=came)

    def _prune(self, cursor: JournalCursor) -> None:
        """The broker has what the cursor has passed."""
        if self.journal is not None and self.journal.id in cursor.delivered:
            self.journal.prune(cursor.delivered[self.journal.id])

    def _serve_commands(self) -> None:
        self.commands.serve()

    def _item_failed(self, what: str, error: Exception) -> None:
        self.metrics.count(f"errors.{what}")
        kind = what, type(error)
        if kind not in self._failed_before:
            self._failed_before.add(kind)
            log.exception("%s failed; the next one is taken, and more like this are only counted", what)

    def _beat(self) -> None:
        notify("WATCHDOG=1")
        self._vitals.take(self.helpers())
        if self.journal is not None:
            self._count_journal(self.journal)
        self._publish_heartbeat(*self.metrics.take())

    def _try_journal_again(self) -> None:
        if self.journal is not None and self.journal.problem:
            self.journal.flush()

    def _restart_if_namespace_is_stale(self) -> None:
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
                memory_mb=self._vitals.memory_mb,
                processor_percent=self._vitals.processor_percent,
                restarts=self._restarts,
                details=self.details,
            ),
        )


def _crash(error: Exception) -> str:
    return f"crashed: {type(error).__name__}: {error}"


SERVICES: dict[str, type[Service]] = {}
"""The heads of all services. Filled by `services.catalogue`."""
