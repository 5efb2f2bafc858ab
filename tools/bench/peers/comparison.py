"""`smartcar bench --peers`: measures smartcar beside others, and writes docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.bench import pipeline, yardstick
from tools.bench.carriers.carry import Carried, carry
from tools.bench.peers.environment import ROOT, Environment, prepare
from tools.bench.report import machine, percentile
from tools.terminal.output import say
from tools.terminal.problems import Problem

PAGE = ROOT / "docs" / "benchmarks.md"
SIZES = (320, 240), (640, 480), (1280, 720)
READERS = 1, 2, 4, 8
CARRIERS = {
    "ours": "smartcar, as services have it",
    "ring": "smartcar, the ring alone",
    "iceoryx": "iceoryx2",
    "zenoh_shm": "zenoh, shared memory",
    "zeromq": "pyzmq, newest kept",
    "multiprocess": "multiprocessing",
}
OURS = "ours", "ring"
COMPARED = *OURS, "iceoryx"
FRAMES = 90
ROUNDS = 3
RATIO_GOAL = 1.0
SPREAD_GOAL = 2.0
EVENT_GOAL_MS = 3.0
MEMORY_GOAL_MB = 270.0
PEER_DIGITS = 60


@dataclass(frozen=True)
class Target:
    """What was to be reached."""

    name: str
    value: float
    goal: float
    unit: str = ""

    def row(self) -> str:
        said = "reached" if self.value <= self.goal else "missed"
        return f"| {self.name} | {self.value:.2f}{self.unit} | ≤ {self.goal:g}{self.unit} | {said} |"


def compare(data: str | None, tell: Callable[[str], None] = say) -> Path:
    """Measure everything, and write the page. Raises Problem."""
    tell("the environment of the others: .venv-peers")
    environment = prepare()
    took = yardstick.measure()
    targets: list[Target] = []
    parts = [
        *_frames(environment, targets, tell),
        *_digits(environment),
        *_pictures(environment, data, tell),
        *_car(targets, tell),
    ]
    PAGE.write_text("\n".join([*_head(environment, took, data), *_targets(targets), *parts]) + "\n")
    return PAGE


def _head(environment: Environment, took: dict[str, float], data: str | None) -> Iterator[str]:
    where = machine()
    yield "# Benchmarks beside others"
    yield ""
    yield "`smartcar bench --peers` measures all of this in one run and writes this page"
    yield f"({'with' if data else 'without'} `--data FOLDER`). Only figures of one run can be compared: in"
    yield "each part those that are compared take turns."
    yield ""
    yield f"- {datetime.now(UTC):%Y-%m-%d}"
    yield f"- {where['processor']}, {where['cores']} cores, Python {where['python']}, {_priority()}"
    yield f"- {', '.join(f'{name} {version}' for name, version in environment.versions.items())}"
    yield f"- yardstick: {', '.join(f'{name} {value:.3f} ms' for name, value in took.items())}"
    for name, why in environment.absent.items():
        yield f"- {name} can't be installed here: {why}"


def _priority() -> str:
    ordinary = os.sched_getscheduler(0) == os.SCHED_OTHER
    return "ordinary priority" if ordinary else "real-time priority (chrt), beside other work on the machine"


def _targets(targets: list[Target]) -> Iterator[str]:
    yield from ("", "## Targets", "", "| | measured | target | |", "| --- | --- | --- | --- |")
    yield from (target.row() for target in targets)


def _frames(environment: Environment, targets: list[Target], tell: Callable[[str], None]) -> Iterator[str]:
    yield from ("", "## Frames from one process to others", "")
    yield f"{FRAMES} frames at 30 a second. Each cell: p50, p99 in µs from before the frame is written to an"
    yield "array in the reader's hands; processor seconds for 1,000 frames, all processes together. zenoh,"
    yield "pyzmq and multiprocessing copy the pixels; frames that a reader did not see stand in brackets."
    absent: dict[str, str] = {}
    for width, height in SIZES:
        yield from ("", f"{width}×{height}:", "")
        yield f"| | {' | '.join(f'{count} reader{chr(115) * (count > 1)}' for count in READERS)} |"
        yield f"| --- |{' --- |' * len(READERS)}"
        rows: dict[str, list[str]] = {name: [] for name in CARRIERS}
        for readers in READERS:
            tell(f"frames of {width}×{height} to {readers}")
            compared = (width, height) == (640, 480) and readers in (2, 8)
            taken = _in_turn(environment, (width, height), readers, ROUNDS if compared else 1, absent)
            for name in CARRIERS:
                rows[name].append(_cell(taken[name]) if name in taken else "–")
            if compared and "iceoryx" in taken:
                for name in OURS:
                    targets += _ratios(CARRIERS[name], readers, taken[name], taken["iceoryx"])
        yield from (f"| {CARRIERS[name]} | {' | '.join(cells)} |" for name, cells in rows.items())
    yield from (f"\n{CARRIERS[name]} was left out: {why}" for name, why in absent.items())


def _in_turn(
    environment: Environment, size: tuple[int, int], readers: int, rounds: int, absent: dict[str, str]
) -> dict[str, list[Carried]]:
    """Each carrier once, and those that are compared once a round."""
    taken: dict[str, list[Carried]] = {}
    for turn in range(rounds):
        for name in CARRIERS if turn == 0 else COMPARED:
            python = sys.executable if name in OURS else environment.python
            if name not in absent:
                try:
                    taken.setdefault(name, []).append(carry(name, size, readers, FRAMES, python=python))
                except (Problem, subprocess.TimeoutExpired) as error:
                    absent[name] = str(error)
    return taken


def _p50(runs: list[Carried]) -> float:
    return statistics.median(percentile(run.latencies_us, 0.5) for run in runs)


def _processor(runs: list[Carried]) -> float:
    return statistics.median(run.processor_s for run in runs)


def _cell(runs: list[Carried]) -> str:
    p99 = statistics.median(percentile(run.latencies_us, 0.99) for run in runs)
    lost = round(statistics.median(run.lost for run in runs))
    return f"{_p50(runs):,.0f}, {p99:,.0f}; {_processor(runs):.2f} s{f' ({lost})' if lost else ''}"


def _ratios(name: str, readers: int, ours: list[Carried], other: list[Carried]) -> list[Target]:
    title = f"{name}: times iceoryx2, {readers} readers of 640×480"
    return [
        Target(f"{title}, p50", _p50(ours) / _p50(other), RATIO_GOAL),
        Target(f"{title}, processor", _processor(ours) / _processor(other), RATIO_GOAL),
    ]


def _digits(environment: Environment) -> Iterator[str]:
    yield from ("", "## Five digits through one network", "")
    yield "The course's network (`tools/bench/peers/digits.py`): one batch of five, one thread, the median."
    yield from ("", "| runtime | ms |", "| --- | --- |")
    run = subprocess.run(
        [environment.python, "-m", "tools.bench.peers.digits"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, told in json.loads(run.stdout).items():
        yield f"| {name} | {f'{told:.4f}' if isinstance(told, float) else f'left out: {told}'} |"


def _pictures(environment: Environment, data: str | None, tell: Callable[[str], None]) -> Iterator[str]:
    yield from ("", "## Pages and photos", "")
    if data is None:
        yield "Not measured: `--data FOLDER` names where the test sets are, as for `smartcar evaluate`."
        return
    tell("pages and photos, which takes minutes")
    sets = "pages", "photos"
    command = [
        "-m",
        "tools.cli",
        "evaluate",
        *sets,
        "--data",
        data,
        "--peers",
        "--peer-digits",
        str(PEER_DIGITS),
    ]
    run = subprocess.run(
        [environment.python, *command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if run.returncode:
        yield f"Not measured: {run.stderr.strip().splitlines()[-1]}"
        return
    lines: list[dict[str, Any]] = [json.loads(line) for line in run.stdout.splitlines() if line[:1] == "{"]
    yield f"`smartcar evaluate {' '.join(sets)} --peers --peer-digits {PEER_DIGITS}`: what is read right."
    names = list(dict.fromkeys(line["name"] for line in lines))
    yield from ("", f"| | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}")
    for title in dict.fromkeys(line["set"] for line in lines if "set" in line):
        cells = {
            line["name"]: f"{line['share']:.1%} of {line['count']}"
            for line in lines
            if line.get("set") == title
        }
        yield f"| {title} | {' | '.join(cells.get(name, '–') for name in names)} |"
    if "Tesseract" not in " ".join(names):
        yield "\nTesseract isn't installed here: apt install tesseract-ocr."


def _car(targets: list[Target], tell: Callable[[str], None]) -> Iterator[str]:
    tell("the whole car")
    measured = pipeline.measure()
    figures = {figure.name: figure for figure in measured}
    reading = "capture to reading of five digits"
    p50, p99 = figures[f"{reading}, p50"].value, figures[f"{reading}, p99"].value
    more = figures["capture to MQTT subscriber, p50"].value - p50
    targets.append(Target("capture to reading, p99 in times its p50", p99 / p50, SPREAD_GOAL))
    targets.append(Target("reading to MQTT, p50", more, EVENT_GOAL_MS, " ms"))
    memory = figures["memory of all services (PSS)"].value
    targets.append(Target("memory of all services", memory, MEMORY_GOAL_MB, " MB"))
    yield from ("", "## The whole car", "", "`smartcar bench pipeline`:", "", "| | |", "| --- | --- |")
    yield from (f"| {figure.name} | {figure.value:,.1f} {figure.unit} |" for figure in measured)
