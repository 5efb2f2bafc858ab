"""`smartcar bench pad`: strokes to those who watch, to a result, by the thousand; and fifty who watch."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zmq

from messages.bus import Subscriber, socket_path
from messages.command import Command
from messages.pad_commands import PadDone, PadErase, PadStrokeCommand
from messages.rpc.clients import CommandClient
from messages.vision import Reading
from services.capture.source import Pace
from services.pad.stroke import fine
from services.pad.writing import written
from tools.bench.car import BenchCar, running_car
from tools.bench.report import Figure, percentile
from tools.terminal.problems import Problem

VIEWER_GOAL_MS = 50.0
PLAY_GOAL = 200.0
RATE_GOAL_PERCENT = 99.0
MOUSE_HERTZ = 60.0
_POINTS_AT_ONCE = 3
_LIFTED_S = 0.15


def measure(codes: int = 5, watchers: int = 50, lines: int = 2000, hertz: float = 30.0) -> list[Figure]:
    """On a running car: draw `codes` for few who watch and for many, then play `lines`."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with running_car(hertz) as car:
            car.wait_until_ready(context)
            few = _draw_for(context, car, codes, 1, _page(car.runtime))
            many = _draw_for(context, car, codes, watchers, None)
            played_s = _play(car, lines)
    finally:
        context.destroy(linger=0)
    return [
        *_spread("stroke to another client on the bus", few.to_viewers, VIEWER_GOAL_MS),
        *_spread("stroke to an open page", few.to_page, VIEWER_GOAL_MS),
        *_spread("end of a stroke to its result", few.to_result),
        Figure("lines a second with `pad play`", lines / played_s, "1/s", PLAY_GOAL, at_least=True),
        *_spread(f"stroke to {watchers} clients", many.to_viewers, VIEWER_GOAL_MS),
        Figure(f"strokes lost by {watchers} clients, of {many.strokes} each", many.lost, "", 0),
        Figure("frames read a second, one client", few.frames_per_s, "1/s"),
        Figure(f"frames read a second, {watchers} clients", many.frames_per_s, "1/s"),
        Figure(
            "frame rate kept",
            100 * many.frames_per_s / few.frames_per_s,
            "%",
            RATE_GOAL_PERCENT,
            at_least=True,
        ),
    ]


@dataclass
class _Drawing:
    """What was measured while somebody drew. Latencies in ms."""

    strokes: int
    to_viewers: list[float]
    to_result: list[float]
    to_page: list[float]
    lost: int
    frames_per_s: float


def _draw_for(
    context: zmq.Context[zmq.Socket[bytes]], car: BenchCar, codes: int, viewers: int, page: str | None
) -> _Drawing:
    hand = _Hand(context, car.runtime)
    hand.ask(PadErase())
    frames = _FrameRate(context, car.runtime)
    with _watching(str(car.runtime), viewers) as clients, _watching(page, 1) as browser:
        frames.begin()
        for seed in range(codes):
            hand.write(f"{seed * 24691 % 100000:05}", seed)
        frames_per_s = frames.end()
        seen, seen_by_page = clients.told(hand), browser.told(hand)
    hand.close()
    return _Drawing(
        len(hand.drawn),
        hand.until_seen(seen["changes"]),
        hand.until_read(seen["readings"]),
        hand.until_seen(seen_by_page["changes"]),
        seen["lost"],
        frames_per_s,
    )


class _Hand:
    """Draws as a mouse does, and knows when each revision of the canvas was asked for."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self._client = CommandClient(context, runtime)
        self._sent_ns: dict[int, int] = {}
        self._ends: list[int] = []
        self.drawn: dict[str, list[tuple[float, float]]] = {}

    @property
    def last(self) -> int:
        return self._ends[-1]

    def ask(self, command: Command) -> int:
        """The revision it makes. Raises Problem where the pad refuses."""
        sent_ns = time.monotonic_ns()
        reply = self._client.send(command, 10.0)
        if reply.error is not None:
            raise Problem(reply.error.message)
        revision = PadDone.model_validate(reply.data).revision
        self._sent_ns[revision] = sent_ns
        return revision

    def write(self, code: str, seed: int) -> None:
        for number, stroke in enumerate(written(code, seed)[1]):
            self._draw(f"{seed}-{number}", fine(stroke))
            time.sleep(_LIFTED_S)

    def _draw(self, name: str, points: list[tuple[float, float]]) -> None:
        pace = Pace(1 / MOUSE_HERTZ)
        phase: Literal["begin", "extend", "end"] = "begin"
        for start in range(0, len(points), _POINTS_AT_ONCE):
            pace.wait()
            some = tuple(points[start : start + _POINTS_AT_ONCE])
            self.ask(PadStrokeCommand(phase=phase, stroke=name, author="bench", points=some))
            phase = "extend"
        pace.wait()
        self._ends.append(self.ask(PadStrokeCommand(phase="end", stroke=name, author="bench")))
        self.drawn[name] = points

    def until_seen(self, seen: list[tuple[int, int]]) -> list[float]:
        """How long each change took to whoever saw it."""
        return [(at - self._sent_ns[revision]) / 1e6 for revision, at in seen if revision in self._sent_ns]

    def until_read(self, seen: list[tuple[int, int]]) -> list[float]:
        """How long after its end each stroke's first reading was seen."""
        return [
            (min(at for read, at in seen if read >= revision) - self._sent_ns[revision]) / 1e6
            for revision in self._ends
        ]

    def close(self) -> None:
        self._client.close()


class _FrameRate:
    """How many frames the recognizer reads, by the numbers it gives them."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self._subscriber = Subscriber(context, runtime, ("reading",), ("recognizer",))

    def begin(self) -> None:
        self._first = self._newest()

    def end(self) -> float:
        """A second, since `begin`."""
        newest = self._newest()
        self._subscriber.close()
        elapsed_s = (newest.monotonic_ns - self._first.monotonic_ns) / 1e9
        return (newest.sequence - self._first.sequence) / elapsed_s

    def _newest(self) -> Reading:
        self._subscriber.receive()
        while True:
            if not self._subscriber.state_socket.poll(5000):
                raise Problem("The recognizer reads nothing.")
            for _, reading in self._subscriber.receive():
                assert isinstance(reading, Reading)
                return reading


@dataclass
class _Viewers:
    """A process of viewers, or none at all."""

    process: subprocess.Popen[str] | None = None
    nothing: dict[str, Any] = field(default_factory=lambda: {"changes": [], "readings": [], "lost": 0})

    def told(self, hand: _Hand) -> dict[str, Any]:
        """What they have seen, once they know what was drawn."""
        if self.process is None:
            return self.nothing
        answer, _ = self.process.communicate(json.dumps([hand.drawn, hand.last]) + "\n", timeout=60)
        found: dict[str, Any] = json.loads(answer)
        return found


@contextmanager
def _watching(where: str | None, count: int) -> Iterator[_Viewers]:
    if where is None:
        yield _Viewers()
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.pad_viewers", where, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield _Viewers(process)
    finally:
        process.kill()
        process.communicate()


def _page(runtime: Path) -> str:
    """The page's address with its token."""
    return socket_path(runtime, "overlay", "address").read_text().split()[0]


def _play(car: BenchCar, lines: int) -> float:
    """How long the command takes from start to end, in seconds. Raises Problem where it fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        drawings = [written(f"{seed * 24691 % 100000:05}", seed)[1] for seed in range(100)]
        for number in range(lines):
            file.write(json.dumps({"id": number, "strokes": drawings[number % len(drawings)]}) + "\n")
        file.flush()
        started = time.monotonic()
        answer = subprocess.run(
            [sys.executable, "-m", "tools.cli", "pad", "play", file.name, "--json"],
            env=car.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        elapsed_s = time.monotonic() - started
    if answer.returncode or len(answer.stdout.splitlines()) != lines:
        raise Problem(f"`pad play` failed: {answer.stderr.strip()}")
    return elapsed_s


def _spread(name: str, latencies: list[float], goal: float | None = None) -> list[Figure]:
    """The median, for which the goal is as for p95, and the longest."""
    return [
        Figure(f"{name}, p50", percentile(latencies, 0.5), "ms", goal),
        Figure(f"{name}, p95", percentile(latencies, 0.95), "ms", goal),
        Figure(f"{name}, longest", max(latencies), "ms"),
    ]
