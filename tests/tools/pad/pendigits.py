"""UCI's pen-based handwritten digits, the original strokes, where they lie beside the repository."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Strokes = list[list[tuple[float, float]]]


@dataclass
class Written:
    """One digit: its pen strokes on the tablet, y upwards."""

    digit: str
    writer: int = 0
    strokes: list[list[tuple[float, float]]] = field(default_factory=list)


def load(folder: Path) -> list[Written]:
    """All digits of the training part; writers 26 to 30 are for tests."""
    digits: list[Written] = []
    down = False
    for line in (folder / "pendigits-orig.tra").read_text(errors="replace").splitlines():
        word = line.split()
        if line.startswith(".SEGMENT"):
            digits.append(Written(re.findall(r'"(\d)"', line)[0]))
            down = False
        elif line.startswith(".COMMENT") and digits and not digits[-1].strokes:
            digits[-1].writer = int(word[2])
        elif line.startswith(".PEN_DOWN"):
            digits[-1].strokes.append([])
            down = True
        elif line.startswith("."):
            down = False
        elif down and len(word) == 2:
            digits[-1].strokes[-1].append((float(word[0]), float(word[1])))
    return digits


def placed(written: Written, left: float, top: float, rng: np.random.Generator) -> Strokes:
    """In a box of 98×98 pixels whose corner is (left, top): some size, somewhere."""
    strokes = [np.array(stroke) for stroke in written.strokes if stroke]
    ink: NDArray[np.float64] = np.vstack(strokes)
    low, size = ink.min(axis=0), np.maximum(np.ptp(ink, axis=0), 1e-3)
    scale = min(rng.uniform(0.5, 0.88) * 98 / size[1], 88 / size[0])
    corner = np.array([left, top]) + 5 + rng.uniform(0, 1, 2) * (88 - size * scale)
    return [
        [(round(float(x), 2), round(float(y), 2)) for x, y in place]
        for place in (np.array([1, -1]) * (s - low) * scale + [0, size[1] * scale] + corner for s in strokes)
    ]
