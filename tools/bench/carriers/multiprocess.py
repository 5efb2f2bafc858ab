"""The standard library: a multiprocessing connection for each reader."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from tools.bench.carriers.carrier import SILENCE_S, Arrived, arrived, packed, retried


class MultiprocessingSender:
    def __init__(self, folder: str, shape: tuple[int, int, int], readers: int) -> None:
        self._listener = Listener(f"{folder}/frames", "AF_UNIX", backlog=readers)
        self._expected = readers
        self._readers: list[Connection] = []

    def send(self, number: int, began_ns: int, pixels: Any) -> None:
        while len(self._readers) < self._expected:
            self._readers.append(self._listener.accept())
        payload = packed(number, began_ns, pixels)
        for reader in self._readers:
            reader.send_bytes(payload)

    def close(self) -> None:
        self._listener.close()


class MultiprocessingReceiver:
    def __init__(self, folder: str, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._connection = retried(lambda: Client(f"{folder}/frames", "AF_UNIX"), OSError)

    def frames(self) -> Iterator[Arrived]:
        while self._connection.poll(SILENCE_S):
            yield arrived(self._connection.recv_bytes(), self._shape)


SENDER, RECEIVER = MultiprocessingSender, MultiprocessingReceiver
