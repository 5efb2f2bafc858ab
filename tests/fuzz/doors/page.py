"""The page: a real overlay with a real pad behind it, asked over HTTP and WebSocket."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed
from tests.services.overlay.conftest import Overlay
from tests.services.processes import start_service

PATIENCE_S = 30.0
ANSWER_S = 0.05
"""A request that has no end is answered when its connection has been idle for long: nobody waits for that."""
MOST_DESCRIPTORS = 260
"""Of the overlay: its own, and those of the connections that it lets stay."""
_POINTS = [[60, 60], [61.5, 70], [62, 140]]
_COMMANDS: dict[str, dict[str, Any]] = {
    "pad.stroke": {"phase": "begin", "stroke": "s", "author": "me", "brush": 4, "points": _POINTS},
    "pad.undo": {"author": "me"},
    "pad.erase": {"box": 3, "author": "me"},
    "pad.write": {"digits": "06-34", "seed": 3, "author": "me"},
    "pad.brush": {"radius": 5},
    "pad.automatic": {"on": False},
}
_PATHS = (
    *("/", "/api/status", "/api/command/pad.erase", "/api/model?name=a.h5", "/live", "/../../etc/passwd"),
    *("//", "/%ff%00", "/?token=" + "x" * 3000, "/api/command/" + "%2e" * 500, "*", "http://x/"),
)
_WORDS = (
    {"type": "ready"},
    {"type": "look"},
    {"type": "rest"},
    {"type": "pad"},
    {"type": "clock", "sent": 1},
)


class PageDoor(Door):
    name = "page"

    def open(self, folder: Path) -> None:
        self._overlay = Overlay(folder / "run", folder / "state").start()
        self._pad: subprocess.Popen[str] = start_service("pad", folder)
        self._overlay.listening()
        self._port, self._cookie = self._overlay.port, self._overlay.cookie
        self.settle()

    def feed(self, chance: random.Random) -> None:
        kind = chance.random()
        with contextlib.suppress(OSError, WebSocketException, UnicodeError):
            if kind < 0.5:
                self._command(chance)
            elif kind < 0.7:
                self._request(chance)
            elif kind < 0.9:
                self._viewer(chance)
            else:
                self._garbage(chance)

    def settle(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_well():
            if self._pad.poll() is not None or self._process.poll() is not None:
                raise DoorFailed(f"a process has ended: {self._overlay.log.read_text()[-1000:]}")
            if time.monotonic() > deadline:
                raise DoorFailed("the page does not answer any more")
            time.sleep(0.05)

    def pids(self) -> Collection[int]:
        return self._process.pid, self._pad.pid

    def close(self) -> None:
        self._overlay.stop()
        self._pad.terminate()
        self._pad.communicate(timeout=20)

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._overlay.process is not None
        return self._overlay.process

    def _is_well(self) -> bool:
        try:
            state = self._overlay.status()["pad"]["state"]
        except (OSError, AssertionError, ValueError):
            return False
        descriptors = len(os.listdir(f"/proc/{self._process.pid}/fd"))
        return state in ("ready", "degraded", "starting") and descriptors < MOST_DESCRIPTORS

    def _command(self, chance: random.Random) -> None:
        verb = chance.choice(sorted(_COMMANDS))
        self._send(self._head("POST", f"/api/command/{verb}"), hostile.document(chance, _COMMANDS[verb]))

    def _request(self, chance: random.Random) -> None:
        """A request line and headers of which some are hostile."""
        method = chance.choice(("GET", "POST", "HEAD", "OPTIONS", "PUT", "X" * 300, "GET\x00"))
        head = self._head(method, chance.choice(_PATHS))
        for name in chance.sample(sorted(head), chance.randint(0, 3)):
            head[name] = _text(hostile.value(chance))
        if chance.random() < 0.3:
            head["Content-Length"] = chance.choice(("-1", "9" * 30, "1e3", "5, 6", ""))
        self._send(head, chance.randbytes(chance.randrange(40)))

    def _viewer(self, chance: random.Random) -> None:
        origin: Any = f"http://127.0.0.1:{self._port}"
        address = f"ws://127.0.0.1:{self._port}/live"
        with connect(address, proxy=None, additional_headers=self._cookie, origin=origin) as viewer:
            for _ in range(chance.randint(1, 4)):
                payload = hostile.document(chance, chance.choice(_WORDS))
                text = payload.decode("utf-8", "replace") if chance.random() < 0.8 else payload
                viewer.send(text)

    def _garbage(self, chance: random.Random) -> None:
        whole = self._bytes(self._head("POST", "/api/command/pad.undo"), b"{}")
        with socket.create_connection(("127.0.0.1", self._port), 5) as connection:
            connection.sendall(
                hostile.mutated(chance, whole) if chance.random() < 0.7 else chance.randbytes(200)
            )

    def _head(self, method: str, path: str) -> dict[str, str]:
        own = {"Host": f"127.0.0.1:{self._overlay.port}", "Origin": self._overlay.origin}
        return {
            "": f"{method} {path} HTTP/1.1",
            **own,
            **self._overlay.cookie,
            "Content-Type": "application/json",
        }

    def _send(self, head: dict[str, str], body: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(
                self._bytes({"Content-Length": str(len(body)), "Connection": "close"} | head, body)
            )
            connection.recv(4096)

    @staticmethod
    def _bytes(head: dict[str, str], body: bytes) -> bytes:
        lines = [head[""], *(f"{name}: {value}" for name, value in head.items() if name)]
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)[:2000]


DOOR = PageDoor
