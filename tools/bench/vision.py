"""`smartcar bench vision`: how well and how fast the camera path reads the drawn scene.

A code counts where it was wholly in view for half a second, and is right where one event ended with exactly
its digits. Times are of this thread's processor, without waiting.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle
from models.eye.eye import Eye
from models.inference.test_time_averaging import CarefulClassifier
from services.capture.scene import EPISODE, Scene
from services.recognizer.pipeline import Reader
from services.recognizer.track import Tracker
from tools.bench.report import Figure, percentile

Pixels = NDArray[np.uint8]

FIVE_DIGITS_GOAL_MS = 5.0
EMPTY_GOAL_MS = 3.0
_RATE = 30
_REPEATS = 10


def measure(rooms: int = 12, episodes: int = 4) -> list[Figure]:
    """`episodes` sets of cards in each of `rooms` rooms, all of fixed seeds, read by the shipped model."""
    cv2.setNumThreads(1)
    bundle = Bundle.load(Path(models.__file__).parent / "factory")
    eye = Eye.of(bundle)
    reader = Reader(CarefulClassifier(bundle), eye)
    shown, right, others = _codes(reader, rooms, episodes)
    return [
        Figure("codes wholly in view", shown, ""),
        Figure("of these right, as one event", right, "", goal=0.95 * shown, at_least=True),
        Figure("other events", others, ""),
        *_times(reader, eye),
    ]


def _codes(reader: Reader, rooms: int, episodes: int) -> tuple[int, int, int]:
    """(codes shown, codes whose one event read them rightly, events that were of no such code)."""
    shown = right = others = 0
    for seed in range(rooms):
        scene, tracker = Scene(seed=seed), Tracker()
        in_view: Counter[tuple[str, int]] = Counter()
        ended: list[str] = []
        for index in range(episodes * EPISODE):
            lines = reader.read(scene.frame(index))
            events = tracker.observe(lines, index * 1_000_000_000 // _RATE, (scene.width, scene.height))
            ended += [event.text for event in events if event.kind == "end"]
            in_view.update((code.digits, index // EPISODE) for code in scene.truth(index) if code.complete)
        ended += [event.text for event in tracker.close()]
        codes = Counter(digits for (digits, _), frames in in_view.items() if frames >= _RATE // 2)
        hits = sum((codes & Counter(ended)).values())
        shown, right, others = shown + sum(codes.values()), right + hits, others + len(ended) - hits
    return shown, right, others


def _times(reader: Reader, eye: Eye) -> list[Figure]:
    """An empty room, one card, two cards; the eye's look alone and reading in all."""
    names = ("empty room", "one card", "two cards")
    frames: dict[str, list[Pixels]] = {name: [] for name in names}
    for seed in range(8):
        scene = Scene(seed=seed)
        frames["empty room"].append(scene.frame(0))
        for episode in range(4):
            index = episode * EPISODE + 80
            frames[names[len(scene.truth(index))]].append(scene.frame(index))
    goals = dict(zip(names, (EMPTY_GOAL_MS, FIVE_DIGITS_GOAL_MS, None), strict=True))
    figures = []
    for name, pictures in frames.items():
        figures += [
            Figure(f"{name}: look, p50", percentile(_milliseconds(eye.glance, pictures), 0.5), "ms"),
            Figure(
                f"{name}: read, p50", percentile(_milliseconds(reader.read, pictures), 0.5), "ms", goals[name]
            ),
        ]
    return figures


def _milliseconds(call: Callable[[Pixels], object], pictures: list[Pixels]) -> list[float]:
    spent = []
    for picture in pictures * _REPEATS:
        begin = time.thread_time_ns()
        call(picture)
        spent.append((time.thread_time_ns() - begin) / 1e6)
    return spent
