"""What the bridge's tests stand on: real brokers, bridge processes and journals, a client that listens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
import zmq
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from messages.bus import Subscriber
from messages.health import Heartbeat
from messages.journal import Journal
from messages.message import encode, new_boot_id, new_ulid
from messages.vision import Box, ModelInfo, ReadingEvent
from services.bridge.paho_client import trusting
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for

CAR = "testcar"
PREFIX = f"smartcar/{CAR}/"
VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


def find_mosquitto() -> str | None:
    """Debian keeps it out of an ordinary user's path."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Mosquitto:
    """A Mosquitto on a free port of loopback, without memory of its own. `settings`: lines of its file."""

    def __init__(self, folder: Path, settings: str = "allow_anonymous true", listener: str = "") -> None:
        self.port = free_port()
        self._file = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        self._file.write_text(
            f"user root\npersistence false\nlog_dest stderr\nset_tcp_nodelay true\n"
            f"max_inflight_messages 0\nmax_queued_messages 0\n{settings}\n"
            f"listener {self.port} 127.0.0.1\n{listener}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_mosquitto()
        assert program is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(self._file)], stderr=log)
        wait_for(lambda: listens(self.port), what=f"Mosquitto: {self._log.read_text()}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Neither dead nor alive."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@dataclass
class Received:
    """A message that a client received."""

    topic: str
    payload: bytes
    retain: bool
    properties: Any

    @property
    def text(self) -> str:
        return self.payload.decode()


@dataclass
class Inbox:
    """What has come, in its order."""

    messages: list[Received] = field(default_factory=list)

    def on(self, topic: str) -> list[Received]:
        return [each for each in list(self.messages) if each.topic == PREFIX + topic]


class Client:
    """An MQTT client beside the car; it keeps all it receives, and does not come back by itself."""

    def __init__(
        self,
        port: int,
        *,
        protocol: str = "3.1.1",
        client_id: str = "",
        login: tuple[str, str] | None = None,
        ca: Path | None = None,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self.inbox = Inbox()
        self.connected = threading.Event()
        self.gone = threading.Event()
        self._subscribed = threading.Event()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=VERSIONS[protocol],
            reconnect_on_failure=False,
        )
        if login is not None:
            self.client.username_pw_set(*login)
        if ca is not None:
            self.client.tls_set_context(trusting(ca))
        if will is not None:
            self.client.will_set(*will, qos=1)
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _, __, each: self.inbox.messages.append(
            Received(each.topic, bytes(each.payload), each.retain, each.properties)
        )
        self.client.connect("127.0.0.1", port, keepalive=600)
        self.client.loop_start()
        assert self.connected.wait(PATIENCE_S)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, pattern: str = "#", qos: int = 1) -> Client:
        self._subscribed.clear()
        self.client.subscribe(PREFIX + pattern, qos)
        assert self._subscribed.wait(PATIENCE_S)
        return self

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        retain: bool = False,
        answer_to: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        properties = None
        if answer_to is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic = answer_to
            if correlation is not None:
                properties.CorrelationData = correlation
        self.client.publish(PREFIX + topic, payload, 1, retain, properties).wait_for_publish(10)

    def wait(self, topic: str, fits: Callable[[Received], object] = lambda _: True) -> Received:
        """The first message on the topic that fits."""
        found = wait_for(
            lambda: next((each for each in self.inbox.on(topic) if fits(each)), None), 20, what=topic
        )
        assert found is not None
        return found


class Bridge:
    """`python -m services bridge`, and what it says about itself on the bus."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path, state: Path, **settings: object
    ) -> None:
        self.runtime, self.state = runtime, state
        self._environment = {
            "PATH": os.environ["PATH"],
            "SMARTCAR_CAR__NAME": CAR,
            "SMARTCAR_PATHS__RUNTIME": str(runtime),
            "SMARTCAR_PATHS__STATE": str(state),
            "SMARTCAR_LOG__LEVEL": "info",
        }
        self.set(**{"host": "127.0.0.1", **settings})
        self._process: subprocess.Popen[bytes] | None = None
        self._subscriber = Subscriber(context, runtime, ["health"], ["bridge"])
        self.health: Heartbeat | None = None
        self.said: list[str] = []

    def set(self, **settings: object) -> None:
        """Settings of the section `mqtt`, for the next start."""
        for key, value in settings.items():
            self._environment[f"SMARTCAR_MQTT__{key.upper()}"] = str(value)

    def start(self, program: str = "") -> Bridge:
        """`program`: run in place of `python -m services`."""
        how = ("-c", program) if program else ("-m", "services")
        self._process = subprocess.Popen(
            [sys.executable, *how, "bridge"], cwd=REPOSITORY, env=self._environment
        )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def ended(self) -> int:
        """The exit code of a bridge that ends by itself."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code

    def wait(self, state: str, *words: str, within_s: float = PATIENCE_S) -> Heartbeat:
        """Wait until the bridge is in this state, for a reason that holds these words."""
        return self.wait_for(
            lambda beat: beat.state == state and all(word in beat.reason for word in words),
            f"{state}: {words}",
            within_s,
        )

    def wait_for(
        self, fits: Callable[[Heartbeat], bool], what: str = "health", within_s: float = PATIENCE_S
    ) -> Heartbeat:
        def look() -> Heartbeat | None:
            for _, beat in self._subscriber.receive():
                self.health = beat
                self.said.append(beat.reason)
            return self.health if self.health is not None and fits(self.health) else None

        try:
            beat = wait_for(look, within_s, what)
        except BaseException:
            print(f"the bridge said last: {self.health and (self.health.state, self.health.reason)}")
            raise
        assert beat is not None
        return beat

    def close(self) -> None:
        self._end(signal.SIGKILL)
        self._subscriber.close()


class Producer:
    """A recognizer's journal, without the recognizer."""

    def __init__(self, state: Path, **caps: Any) -> None:
        self.path = state / "recognizer" / "journal.sqlite3"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.path, **caps)
        self.boot_id = new_boot_id()
        self.written: list[ReadingEvent] = []

    def write(self, count: int = 1) -> list[ReadingEvent]:
        """Append events; their sequence numbers go on."""
        events = [self._event(len(self.written) + index) for index in range(1, count + 1)]
        for event in events:
            self.journal.append("reading.event", encode(event))
        self.written += events
        return events

    def _event(self, sequence: int) -> ReadingEvent:
        now = datetime.now(UTC)
        event = ReadingEvent(
            event_id=new_ulid(),
            phase="new",
            text=f"{sequence:05d}",
            confidence=0.9,
            digit_confidences=(0.9,),
            first_seen=now,
            last_seen=now,
            frames=3,
            frame_id=sequence,
            box=Box(x=0, y=0, width=10, height=10),
            model=ModelInfo(name="test", version="1.0.0", digest="0" * 64),
            latency_ms=5.0,
        )
        return event.stamped("recognizer", self.boot_id, sequence)

    def close(self) -> None:
        self.journal.close()


def sequences(client: Client) -> list[int]:
    """The sequence numbers of the events that came, in their order."""
    return [
        ReadingEvent.model_validate_json(each.payload).sequence for each in client.inbox.on("event/reading")
    ]


def without_repetition(numbers: list[int]) -> list[int]:
    """Each number where it came first."""
    return list(dict.fromkeys(numbers))


class Relay:
    """A TCP connection in between, that the test opens and cuts: the network of the car."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.port = free_port()

    def open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break what is connected and refuse what comes."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for pair in self._pairs:
            for end in pair:
                _shut(end)
        self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
