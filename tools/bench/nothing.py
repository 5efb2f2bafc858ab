"""`smartcar bench nothing`: what the camera path makes of views with nothing to read in them.

A camera moves slowly over still pictures, hand-held and noisy, as video at 30 frames a second. Every event is
one too many. The seed is fixed; thresholds are tuned on other seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle
from models.inference.test_time_averaging import CarefulClassifier
from services.recognizer.pipeline import Reader
from services.recognizer.track import Tracker, TrackEvent
from tools.bench.backdrops import HEIGHT, KINDS, WIDTH, Picture
from tools.bench.report import Figure
from tools.terminal.problems import Problem

_RATE = 30
_SIZE = 640, 480
VIEW = 300
"""Frames of one picture: ten seconds."""


def measure(frames: int = 18_000, seed: int = 0) -> list[Figure]:
    """About as many frames, as many of each kind of picture; events by kind. Raises Problem."""
    if not all(map(find_spec, ("matplotlib", "sklearn", "PIL"))):
        raise Problem(
            "Its photos and typefaces come with matplotlib and scikit-learn: pip install 'smartcar[test]'."
        )
    cv2.setNumThreads(1)
    reader = Reader(CarefulClassifier(Bundle.load(Path(models.__file__).parent / "factory")))
    views = max(1, round(frames / VIEW / len(KINDS)))
    events = Counter(dict.fromkeys(KINDS, 0))
    for kind in KINDS:
        for number in range(views):
            events[kind] += len(invented(reader, kind, number, seed))
    return [
        Figure("frames of nothing to read", views * len(KINDS) * VIEW, ""),
        Figure("events", events.total(), "", goal=0),
        *(Figure(f"… of {kind}", count, "") for kind, count in events.items()),
    ]


def invented(reader: Reader, kind: str, number: int, seed: int, frames: int = VIEW) -> list[TrackEvent]:
    """The codes that the camera path reads into one picture of nothing: their `new` events."""
    tracker, found = Tracker(), []
    for index, frame in enumerate(islice(video(kind, number, seed), frames)):
        events = tracker.observe(reader.read(frame), index * 1_000_000_000 // _RATE, _SIZE)
        found += [event for event in events if event.kind == "new"]
    return found


def video(kind: str, number: int, seed: int) -> Iterator[Picture]:
    """A camera's way over one picture: `VIEW` frames, BGR (480, 640, 3) uint8."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    picture = KINDS[kind](rng)
    noise = rng.normal(0, rng.uniform(1, 4), (_SIZE[1] + 64, _SIZE[0] + 64, 3))
    brighter, darker = (np.clip(np.rint(part), 0, 20).astype(np.uint8) for part in (noise, -noise))
    start, end = _pose(rng), _pose(rng)
    for index in range(VIEW):
        share = index / VIEW
        sway = 1.5 * np.array([np.sin(index / 9), np.cos(index / 13), 0.002 * np.sin(index / 11), 0])
        frame = _seen(picture, start + (end - start) * share + sway)
        dy, dx = (int(value) for value in rng.integers(0, 64, 2))
        rows, columns = slice(dy, dy + _SIZE[1]), slice(dx, dx + _SIZE[0])
        cv2.add(frame, brighter[rows, columns], dst=frame)
        cv2.subtract(frame, darker[rows, columns], dst=frame)
        yield frame


def _pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the camera looks: x and y of the picture's pixel in its middle, turn, logarithm of the zoom."""
    middle = rng.uniform((0.38 * WIDTH, 0.38 * HEIGHT), (0.62 * WIDTH, 0.62 * HEIGHT))
    return np.array([*middle, rng.uniform(-0.12, 0.12), rng.uniform(np.log(0.95), np.log(1.5))])


def _seen(picture: Picture, pose: NDArray[np.float64]) -> Picture:
    x, y, turn, zoom = pose
    cosine, sine = np.exp(zoom) * np.cos(turn), np.exp(zoom) * np.sin(turn)
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    matrix[:, 2] = np.array(_SIZE) / 2 - matrix[:, :2] @ (x, y)
    seen = cv2.warpAffine(picture, matrix, _SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.uint8)
