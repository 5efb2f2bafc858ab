"""Publish and subscribe between processes of one machine: ZeroMQ over ipc, state and event delivery.

Every service binds two sockets below `<runtime>/<service>/`: `state` (XPUB that answers each subscription
with the last value) and `event` (PUB). Receivers connect, in any order and at any time; ZeroMQ reconnects.
A Subscriber hears of frames by the ring itself (`ring_watch`) where it can: that is quicker.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from messages.errors import CannotStart
from messages.lock import OwnerLock
from messages.message import (
    MAX_MESSAGE_BYTES,
    AnyMessage,
    MalformedMessage,
    Message,
    decode,
    encode,
    new_boot_id,
)
from messages.ring_watch import RingWatch
from messages.topics import EVERY_SERVICE, Topic, TopicKind, topic, topics_of
from messages.vision import FRAME, FrameReady

if TYPE_CHECKING:
    from messages.journal import Journal

STATE_HIGH_WATER = 256
EVENT_HIGH_WATER = 10_000
DRAIN_LIMIT = 2 * STATE_HIGH_WATER
"""Messages taken in one go, so that a flood can't hold a receiver in its loop."""

_MAX_IPC_PATH = 107  # sun_path, less its terminator
_BY_RING = b"ring"
_END = b"\0"  # ends name and source, so that `event/1` doesn't also subscribe to `event/10`


def socket_path(runtime: Path, service: str, kind: str) -> Path:
    """Where the socket `kind` (`state`, `event`, `command`) of `service` lies."""
    return runtime / service / kind


def endpoint(runtime: Path, service: str, kind: str) -> str:
    """The same as a ZeroMQ address. Raises CannotStart where the path is too long for a socket."""
    path = os.fsencode(socket_path(runtime.absolute(), service, kind))
    if len(path) > _MAX_IPC_PATH:
        raise CannotStart(
            f"The path of the runtime folder {runtime} is too long for sockets "
            f"({len(path)} of {_MAX_IPC_PATH} bytes).",
            "Choose a shorter one (paths.runtime).",
        )
    return f"ipc://{os.fsdecode(path)}"


def shared_with_group(folder: Path) -> bool:
    """Whether the people of a group may use what is in the folder: it carries the set-group-ID bit then."""
    return bool(folder.stat().st_mode & stat.S_ISGID)


def open_to_group(path: Path) -> None:
    """Let the group use a socket, where its folder is shared with one."""
    if shared_with_group(path.parent):
        path.chmod(0o770)


def new_socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, high_water: int, max_bytes: int
) -> zmq.Socket[bytes]:
    """A socket that bounds memory, closes at once and reconnects quickly."""
    socket = context.socket(kind)
    socket.linger = 0
    socket.sndhwm = high_water
    socket.rcvhwm = high_water
    socket.setsockopt(zmq.MAXMSGSIZE, max_bytes)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    return socket


class Publisher:
    """The one publisher of a service. Not thread-safe: it belongs to the thread that made it.

    Raises AlreadyOwned where the service already runs on this runtime folder: a second `bind` would
    silently steal the first one's sockets.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path, service: str) -> None:
        self.service = service
        self._runtime = runtime
        self.boot_id = new_boot_id()
        self.journal: Journal | None = None
        """Where journalled topics are written before they are sent."""
        self._topics = {row.name: row for row in topics_of(service)}
        self._lock = OwnerLock(runtime / service / "lock", service)
        self._sequences: Counter[str] = Counter()
        self._last: dict[bytes, bytes] = {}
        self._subscribed: set[bytes] = set()
        self._offered: dict[bytes, tuple[str, Callable[[], Message]]] = {}
        self.state_socket = new_socket(context, zmq.XPUB, STATE_HIGH_WATER, MAX_MESSAGE_BYTES)
        self.state_socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._event_socket = new_socket(context, zmq.PUB, EVENT_HIGH_WATER, MAX_MESSAGE_BYTES)
        self.state_socket.bind(endpoint(runtime, service, "state"))
        self._event_socket.bind(endpoint(runtime, service, "event"))
        for kind in TopicKind:
            open_to_group(socket_path(runtime, service, kind.value))

    def publish(self, name: str, message: AnyMessage) -> AnyMessage:
        """Stamp and send; returns the message as sent. Never blocks. Raises KeyError for a foreign topic."""
        row = self._topics[name]
        if not isinstance(message, row.message):
            raise TypeError(f"{name} carries {row.message.__name__}, not {type(message).__name__}")
        self._sequences[name] += 1
        stamped = message.stamped(self.service, self.boot_id, self._sequences[name])
        header, payload = _header(name, self.service), encode(stamped)
        if len(payload) > MAX_MESSAGE_BYTES:
            raise ValueError(f"{name}: {len(payload)} bytes, {MAX_MESSAGE_BYTES} are allowed")
        if row.journalled and self.journal is not None:
            self.journal.append(name, payload)
        if row.kind is TopicKind.STATE:
            self._last[header] = payload
            self.state_socket.send(header + payload)
        else:
            self._event_socket.send(header + payload)
        return stamped

    def offer(self, name: str, make: Callable[[], AnyMessage]) -> None:
        """Publish a state that mostly nobody hears by the bus: it is made once somebody is subscribed."""
        header = _header(name, self.service)
        self._offered[header] = name, make
        if any(map(header.startswith, self._subscribed)):
            self._publish_offered(header)

    def _publish_offered(self, header: bytes) -> None:
        name, make = self._offered.pop(header)
        self.publish(name, make())

    def answer_subscriptions(self) -> None:
        """Send the last value, unchanged, to whoever just subscribed. Call when `state_socket` is readable.

        A re-send reaches everyone; receivers drop what they have seen.
        """
        wanted: set[bytes] = set()
        for _ in range(DRAIN_LIMIT):
            if not int(self.state_socket.EVENTS) & zmq.POLLIN:
                break
            request = self.state_socket.recv()
            if request[:1] == b"\x01":
                self._subscribed.add(request[1:])
                wanted.update(header for header in self._last if header.startswith(request[1:]))
                for header in [header for header in self._offered if header.startswith(request[1:])]:
                    self._publish_offered(header)
                    wanted.discard(header)
            else:
                self._subscribed.discard(request[1:])  # by the last one
        for header in wanted:
            self.state_socket.send(header + self._last[header])

    def close(self) -> None:
        """Close the sockets, remove their files, give the lock back."""
        self.state_socket.close()
        self._event_socket.close()
        for kind in TopicKind:
            socket_path(self._runtime, self.service, kind.value).unlink(missing_ok=True)
        self._lock.release()


class Subscriber:
    """Receives topics from whichever services publish them. Not thread-safe.

    State topics are drained to the newest per topic and source; events come all, in their order.
    `malformed` and `missed` count what was ignored and which events never came.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime: Path,
        names: Iterable[str],
        services: Iterable[str],
    ) -> None:
        self.malformed: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._last_seen: dict[bytes, tuple[str, int]] = {}
        self._topics: dict[bytes, Topic] = {}
        self.state_socket = new_socket(context, zmq.SUB, STATE_HIGH_WATER, MAX_MESSAGE_BYTES)
        self.event_socket = new_socket(context, zmq.SUB, EVENT_HIGH_WATER, MAX_MESSAGE_BYTES)
        self._poller = zmq.Poller()
        services = tuple(services)
        self._watch: RingWatch | None = None
        self._frames_by_socket = True
        connected: set[tuple[TopicKind, str]] = set()
        rows = [topic(name) for name in names]
        kinds = {row.kind for row in rows}
        pairs = (TopicKind.STATE, self.state_socket), (TopicKind.EVENT, self.event_socket)
        self._used = [socket for kind, socket in pairs if kind in kinds]
        for socket in self._used:
            self._poller.register(socket, zmq.POLLIN)
        for row in rows:
            name = row.name
            prefix = name.encode() + _END
            self._topics[prefix] = row
            if name == FRAME.name:
                self._watch = RingWatch(socket_path(runtime, row.owner, "ring"), row.owner)
                self._watch.open()
            socket = self.state_socket if row.kind is TopicKind.STATE else self.event_socket
            socket.setsockopt(zmq.SUBSCRIBE, prefix)
            for owner in services if row.owner == EVERY_SERVICE else (row.owner,):
                if (row.kind, owner) not in connected:
                    connected.add((row.kind, owner))
                    socket.connect(endpoint(runtime, owner, row.kind.value))

    @property
    def sockets(self) -> tuple[Any, ...]:
        """What to poll, as far as needed: a socket for states, one for events, a descriptor for frames."""
        if self._watch is None or self._watch.descriptor < 0:
            return tuple(self._used)
        return (*self._used, self._watch.descriptor)

    def receive(self) -> list[tuple[Topic, Any]]:
        """What has come, without waiting: (topic, message) pairs, bad ones counted and left out."""
        if self._watch is not None and (frame := self._watched_frame(self._watch)) is not None:
            return [(FRAME, frame)]  # and no look at the sockets, which are polled by themselves
        newest: dict[bytes, bytes] = {}
        events: list[tuple[bytes, bytes]] = []
        for _ in range(DRAIN_LIMIT):
            readable = self._poller.poll(0)  # cheaper than the exception of an empty socket
            if not readable:
                break
            for socket, _ in readable:
                header, payload = _split(socket.recv())
                if socket is self.state_socket:
                    newest.pop(header, None)  # keep the order of arrival
                    newest[header] = payload
                else:
                    events.append((header, payload))
        received: list[tuple[Topic, Any]] = []
        for header, payload in (*newest.items(), *events):
            row = self._topics.get(header[: header.find(_END) + 1])
            if row is None:
                self.malformed["?"] += 1
                continue
            try:
                message = decode(row.message, payload)
            except MalformedMessage:
                self.malformed[row.name] += 1
                continue
            if self._watch is not None and row.name == FRAME.name:
                self._watch.open()
                if not self._frames_by_socket:
                    continue  # it was under way
            if self._is_new(header, row, message):
                received.append((row, message))
        return received

    def _watched_frame(self, watch: RingWatch) -> FrameReady | None:
        """The newest frame, told by the ring. From the first one on frames need not come by the socket."""
        frame = watch.newest()
        if watch.is_open == self._frames_by_socket and (frame is not None or not watch.is_open):
            self._frames_by_socket = not watch.is_open
            option = zmq.SUBSCRIBE if self._frames_by_socket else zmq.UNSUBSCRIBE
            self.state_socket.setsockopt(option, FRAME.name.encode() + _END)
        return frame if frame is not None and self._is_new(_BY_RING, FRAME, frame) else None

    def _is_new(self, header: bytes, row: Topic, message: Message) -> bool:
        boot_id, sequence = self._last_seen.get(header, ("", 0))
        if message.boot_id == boot_id:
            if message.sequence <= sequence:
                return False
            if row.kind is TopicKind.EVENT:
                self.missed[row.name] += message.sequence - sequence - 1
        self._last_seen[header] = (message.boot_id, message.sequence)
        return True

    def close(self) -> None:
        self.state_socket.close()
        self.event_socket.close()
        if self._watch is not None:
            self._watch.close()


def _header(name: str, source: str) -> bytes:
    return name.encode() + _END + source.encode() + _END


def _split(frame: bytes) -> tuple[bytes, bytes]:
    """(header, payload) of what came."""
    end_of_header = frame.find(_END, frame.find(_END) + 1) + 1
    return frame[:end_of_header], frame[end_of_header:]
