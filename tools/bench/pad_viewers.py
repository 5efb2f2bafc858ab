"""Those who watch the pad while it is measured: `python -m tools.bench.pad_viewers WHERE COUNT`.

WHERE is a runtime folder, for COUNT clients on the bus, or a page's address. A line is printed once all
follow. Then a line comes in: the strokes that were drawn, {id: points}, and the last revision. A line goes
out with what was seen: {"changes": [[revision, ns], …], "readings": the same, "lost": strokes that a client
lacks, all clients together}.
"""

from __future__ import annotations

import json
import math
import select
import sys
import time
from pathlib import Path
from typing import Any

import zmq
from websockets.sync.client import connect
from websockets.typing import Origin

from messages.bus import Subscriber
from messages.pad_follower import PadFollower
from tools.terminal.output import print_json, say

PATIENCE_S = 5.0
"""What has not come this long after the last stroke does not come."""

Seen = list[tuple[int, int]]
Drawn = dict[str, list[list[float]]]


class BusViewer:
    """A client on the bus that keeps the canvas as it is."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self.subscriber = Subscriber(context, runtime, ("pad.canvas", "pad.stroke", "pad.reading"), ("pad",))
        self.follower = PadFollower()
        self.changes: Seen = []
        self.readings: Seen = []

    def look(self) -> None:
        for row, message in self.subscriber.receive():
            if row.name == "pad.canvas":
                self.follower.canvas(message)
            elif row.name == "pad.stroke":
                self.follower.change(message)
                self.changes.append((message.revision, time.monotonic_ns()))
            else:
                self.readings.append((message.revision, time.monotonic_ns()))

    def lost(self, drawn: Drawn) -> int:
        """How many of these strokes it does not have, or not whole."""
        has = {name: [list(point) for point in each.points] for name, each in self.follower.strokes.items()}
        return sum(has.get(name) != points for name, points in drawn.items())


def watch_bus(runtime: Path, count: int) -> dict[str, Any]:
    """What `count` clients see until the line has come and they have all seen its last revision."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    viewers = [BusViewer(context, runtime) for _ in range(count)]
    poller = zmq.Poller()
    by_socket = {socket: viewer for viewer in viewers for socket in viewer.subscriber.sockets}
    for socket in by_socket:
        poller.register(socket, zmq.POLLIN)

    def look(wait_ms: int) -> bool:
        ready = dict(poller.poll(wait_ms))
        for viewer in {id(by_socket[each]): by_socket[each] for each in ready if each in by_socket}.values():
            viewer.look()
        return sys.stdin.fileno() in ready

    while not all(viewer.follower.in_step for viewer in viewers):
        look(100)
    say("watching")
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while not look(1000):
        pass
    poller.unregister(sys.stdin.fileno())
    drawn, last = _line()
    deadline = time.monotonic() + PATIENCE_S
    while any(viewer.follower.revision < last for viewer in viewers) and time.monotonic() < deadline:
        look(50)
    found = {
        "changes": [each for viewer in viewers for each in viewer.changes],
        "readings": [each for viewer in viewers for each in viewer.readings],
        "lost": sum(viewer.lost(drawn) for viewer in viewers),
    }
    context.destroy(linger=0)
    return found


def watch_page(address: str) -> dict[str, Any]:
    """What comes through an open page's WebSocket, before a browser has drawn it."""
    origin, _, token = address.partition("/?token=")
    port = origin.rpartition(":")[2]
    changes: Seen = []
    readings: Seen = []
    told, last = False, math.inf
    cookie = {"Cookie": f"smartcar-{port}={token}"}
    with connect(
        f"ws://127.0.0.1:{port}/live", additional_headers=cookie, origin=Origin(origin), proxy=None
    ) as page:
        deadline = math.inf
        while (not changes or changes[-1][0] < last) and time.monotonic() < deadline:
            try:
                message = json.loads(page.recv(0.05))
            except TimeoutError:
                message = {"type": ""}
            now_ns = time.monotonic_ns()
            if message["type"] == "pad" and not told:
                told = True
                say("watching")
            elif message["type"] == "pad.change":
                changes += [(change["revision"], now_ns) for change in message["changes"]]
            elif message["type"] == "pad.reading":
                readings.append((message["revision"], now_ns))
            if last == math.inf and select.select([sys.stdin], [], [], 0)[0]:
                last = _line()[1]
                deadline = time.monotonic() + PATIENCE_S
    return {"changes": changes, "readings": readings}


def _line() -> tuple[Drawn, int]:
    drawn, last = json.loads(sys.stdin.readline())
    return drawn, last


if __name__ == "__main__":
    where, how_many = sys.argv[1:]
    seen = watch_page(where) if where.startswith("http:") else watch_bus(Path(where), int(how_many))
    print_json(seen)
