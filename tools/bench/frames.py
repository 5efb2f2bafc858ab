"""`smartcar bench frames`: the whole reading of a 640×480 frame, beside another checkout of smartcar.

Both read the same frames in turn, each in a process of its own, so that what else the machine does weighs on
both alike. Times are of the reading thread's processor, without waiting.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.ink import synthetic_handwriting
from models.ink.strokes import render
from services.capture.scene import Scene
from tools.bench.pages import Look, enlarged, page
from tools.bench.report import Figure, percentile
from tools.terminal.problems import Problem
from tools.train.data.pen import BOX, BRUSH

Pixels = NDArray[np.uint8]

GOALS = {"empty room": 1.0, "five digits": 1.2, "twenty digits": 0.6}
"""The frames, and how many times the other checkout's time reading one may take."""
_HERE = Path(__file__).resolve().parents[2]
_CHILD = """
import json, sys, time
from pathlib import Path
import cv2, numpy as np
from services.config import Recognizer
from services.recognizer.model import load
cv2.setNumThreads(1)
frames = dict(zip(json.loads(sys.argv[2]), np.load(sys.argv[1])))
read = load(Path("models/factory"), Recognizer()).reader.read
for _ in sys.stdin:
    spent = {}
    for name, frame in frames.items():
        begin = time.thread_time_ns()
        read(frame)
        spent[name] = (time.thread_time_ns() - begin) / 1e6
    print(json.dumps(spent), flush=True)
"""


def measure(against: Path | None, rounds: int = 40) -> list[Figure]:
    """The median milliseconds of each frame here and, with it, in the checkout `against`. Raises Problem."""
    with tempfile.TemporaryDirectory(prefix="smartcar-frames-") as folder:
        held = Path(folder) / "frames.npy"
        np.save(held, _frames())
        spent = _rounds(held, [_HERE, *([against.resolve()] if against else [])], rounds)
    here = {name: percentile(times, 0.5) for name, times in spent[0].items()}
    figures = [Figure(f"{name}, p50", value, "ms") for name, value in here.items()]
    for times in spent[1:]:
        for name, goal in GOALS.items():
            there = percentile(times[name], 0.5)
            figures.append(Figure(f"{name}, p50 of the other checkout", there, "ms"))
            figures.append(Figure(f"{name}, times the other's", here[name] / there, "", goal))
    return figures


def _frames() -> Pixels:
    """(3, 480, 640, 3): an empty room, a page with one row of five digits, and one with four."""
    rng = np.random.default_rng(5)
    rows = [
        [
            enlarged(render(synthetic_handwriting.into_box(strokes, 0, 0, BOX, BOX), (BOX, BOX), BRUSH))
            for strokes in synthetic_handwriting.write(text, seed)
        ]
        for seed, text in enumerate(("31742", "68053", "90126", "47589"))
    ]
    return np.stack([Scene(seed=3).frame(0), page(rows[:1], Look(), rng), page(rows, Look(), rng)])


def _rounds(frames: Path, checkouts: list[Path], rounds: int) -> list[dict[str, list[float]]]:
    """The milliseconds of each frame in each checkout, round by round."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(frames), json.dumps([*GOALS])],
            cwd=checkout,
            env={"PYTHONPATH": str(checkout), "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for checkout in checkouts
    ]
    spent: list[dict[str, list[float]]] = [defaultdict(list) for _ in children]
    try:
        for turn in range(rounds + 1):
            for child, checkout, times in zip(children, checkouts, spent, strict=True):
                answer = _ask(child)
                if answer is None:
                    raise Problem(
                        f"The reader in {checkout} can't be run; give a whole checkout of smartcar."
                    )
                for name, milliseconds in (
                    json.loads(answer).items() if turn else ()
                ):  # the first one warms up
                    times[name].append(milliseconds)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    return spent


def _ask(child: subprocess.Popen[str]) -> str | None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write("\n")
        child.stdin.flush()
    except BrokenPipeError:
        return None
    return child.stdout.readline() or None
