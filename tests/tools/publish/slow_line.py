"""A slow line to a broker: a proxy that lets so many bytes a second through, or nothing any more."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class SlowLine:
    """`port` leads to the broker. `bytes_per_s` is how fast it answers; after `stop_after` it is silent."""

    def __init__(self, broker_port: int, bytes_per_s: float, stop_after: float = float("inf")) -> None:
        self._broker_port, self._bytes_per_s, self._left = broker_port, bytes_per_s, stop_after
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                broker = socket.create_connection(("127.0.0.1", self._broker_port))
            except OSError:
                return
            self._sockets += [client, broker]
            threading.Thread(target=self._pass_on, args=(client, broker, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(broker, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, slowly: bool) -> None:
        try:
            while part := source.recv(4096):
                if slowly:
                    self._left -= len(part)
                    while self._left < 0:
                        time.sleep(0.1)  # silent, but not gone
                        source.getpeername()
                    time.sleep(len(part) / self._bytes_per_s)
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@contextmanager
def slow_line(broker_port: int, bytes_per_s: float, stop_after: float = float("inf")) -> Iterator[int]:
    """The port of a slow line for the length of a block."""
    line = SlowLine(broker_port, bytes_per_s, stop_after)
    try:
        yield line.port
    finally:
        line.close()
