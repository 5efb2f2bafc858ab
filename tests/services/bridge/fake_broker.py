"""A broker whose answers the test chooses: just enough of MQTT 5 for one bridge; a 3.1.1 client may log in.

with FakeBroker() as broker:
    broker.answer = lambda topic, payload: 151  # quota exceeded, for every message
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

NO_ANSWER, CLOSE = -1, -2
"""What `answer` may give in place of a reason code."""

Answer = Callable[[str, bytes], int]


class FakeBroker:
    """Accepts every login. `retained` is what stands there, `published` all that came, with what was said."""

    def __init__(self, retained: dict[str, bytes] | None = None) -> None:
        self.retained = retained if retained is not None else {}
        self.published: list[tuple[str, bytes, int]] = []
        self.sessions = 0
        self.subscribed: list[str] = []
        self.answer: Answer = lambda topic, payload: 0
        self.answer_subscription: Callable[[str], int] = lambda pattern: 1
        self.welcome: Callable[[int], bool] = lambda session: True
        """Whether a session goes on after its login."""
        self._connection: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FakeBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End, with whoever is connected."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def on(self, topic: str) -> list[tuple[bytes, int]]:
        """(payload, code) of what came on a topic."""
        return [(payload, code) for each, payload, code in list(self.published) if each == topic]

    def hang_up(self) -> None:
        """Close the connection."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)

    def deliver(
        self, topic: str | bytes, payload: bytes, *, retain: bool = False, properties: bytes = b""
    ) -> None:
        """Send a message to the bridge, subscribed to or not."""
        name = topic.encode() if isinstance(topic, str) else topic
        self.send(0x31 if retain else 0x30, _text(name) + _length(len(properties)) + properties + payload)

    def send(self, head: int, body: bytes) -> None:
        """Send any packet."""
        self.send_raw(bytes([head]) + _length(len(body)) + body)

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        assert self._connection is not None
        self._connection.sendall(data)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while head := stream.read(1):
                    body = stream.read(_read_length(stream.read))
                    if not self._take(connection, head[0], body):
                        return
        except OSError:
            pass  # the bridge has gone, or the test has ended

    def _take(self, connection: socket.socket, head: int, body: bytes) -> bool:
        kind = head >> 4
        if kind == 1:
            self.sessions += 1
            self._connection = connection
            self.send(0x20, b"\0\0\0" if body[6] == 5 else b"\0\0")
            return self.welcome(self.sessions)
        if kind == 3:
            return self._published(head, body)
        if kind == 8:
            self._subscribe(body)
        elif kind == 10:
            self.send(0xB0, body[:2] + b"\0\0")
        elif kind == 12:
            self.send(0xD0, b"")
        return kind != 14

    def _published(self, head: int, body: bytes) -> bool:
        qos, size = (head >> 1) & 3, int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        message_id, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        properties, rest = _split_length(rest)
        payload = rest[properties:]
        code = self.answer(topic, payload)
        self.published.append((topic, payload, code))
        if code == 0 and head & 1:
            self.retained[topic] = payload
        if qos and code >= 0:
            self.send(0x40, message_id + bytes([code]) + b"\0")
        return code != CLOSE

    def _subscribe(self, body: bytes) -> None:
        message_id = body[:2]
        properties, rest = _split_length(body[2:])
        rest = rest[properties:]
        size = int.from_bytes(rest[:2], "big")
        pattern = rest[2 : 2 + size].decode()
        self.subscribed.append(pattern)
        code = self.answer_subscription(pattern)
        if code == NO_ANSWER:
            return
        self.send(0x90, message_id + b"\0" + bytes([code]))
        if code < 128 and pattern in self.retained:
            self.deliver(pattern, self.retained[pattern], retain=True)


def _text(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text


def _length(size: int) -> bytes:
    """MQTT's variable byte integer."""
    encoded = b""
    while True:
        size, digit = divmod(size, 128)
        encoded += bytes([digit | (128 if size else 0)])
        if not size:
            return encoded


def _read_length(read: Callable[[int], bytes]) -> int:
    size, shift = 0, 0
    while True:
        (digit,) = read(1)
        size |= (digit & 127) << shift
        shift += 7
        if not digit & 128:
            return size


def _split_length(data: bytes) -> tuple[int, bytes]:
    """The variable byte integer at the beginning, and what follows it."""
    position = iter(range(4))
    size = _read_length(lambda _: data[(at := next(position)) : at + 1])
    return size, data[next(position) :]
