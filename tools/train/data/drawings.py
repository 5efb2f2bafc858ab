"""Digits drawn on the pad and kept with `smartcar pad save`, as something to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from messages.message import first_problem
from messages.pad import BOXES, EMPTY, box, inside
from models.ink.strokes import render
from tools.train.course import SIDE, plain
from tools.train.data.datasets import DataError, PenDigit, Pictures
from tools.train.data.pen import BRUSH

WRITER = 0
"""Stands for whoever drew on the pad; the writers of the sets count from 1."""


def read(path: Path) -> list[PenDigit]:
    """The digits of a file of `smartcar pad save FILE --id DIGITS`, in canvas pixels.

    What was drawn is the line's `digits`, or else its id: one character a box, - for a box left empty. Raises
    DataError, with the line's number.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}.") from None
    return [
        digit for number, line in enumerate(lines, 1) if line.strip() for digit in _digits(path, number, line)
    ]


def plainly(digits: Sequence[PenDigit]) -> Pictures:
    """Drawings as the course's pad hands them on: each box cut out as it is and shrunk, (n, 28, 28)."""
    inks = [render([stroke - _corner(digit) for stroke in digit.strokes], _SIZE, BRUSH) for digit in digits]
    crops = np.array([plain(ink) for ink in inks], np.uint8).reshape(-1, SIDE, SIDE)
    return Pictures(crops, np.array([digit.label for digit in digits], np.int64))


_SIZE = (inside(0).width, inside(0).height)


def _digits(path: Path, number: int, line: str) -> list[PenDigit]:
    from tools.pad.play import PlayLine

    class Drawing(PlayLine):
        digits: str | None = None

    try:
        drawing = Drawing.model_validate_json(line)
    except ValidationError as error:
        raise DataError(f"{path}, line {number}: {first_problem(error)}.") from None
    truth = str(drawing.digits if drawing.digits is not None else drawing.id)
    if not 1 <= len(truth) <= BOXES or not set(truth) <= {*"0123456789", EMPTY}:
        raise DataError(
            f"{path}, line {number}: {truth!r} doesn't say which digits these are; save drawings with "
            f"smartcar pad save {path} --id 06234 (- for an empty box)."
        )
    strokes_of: dict[int, list[Any]] = {}
    for points in drawing.strokes:
        if points:
            stroke = np.array(points, np.float64)
            strokes_of.setdefault(_box_of(stroke), []).append(stroke)
    labels = {index: label for index, label in enumerate(truth) if label != EMPTY}
    if strokes_of.keys() != labels.keys():
        raise DataError(
            f"{path}, line {number}: {truth} names digits in boxes {_names(labels)}, but it was drawn in "
            f"boxes {_names(strokes_of)}."
        )
    return [PenDigit(tuple(strokes_of[index]), int(labels[index]), WRITER) for index in sorted(labels)]


def _box_of(stroke: Any) -> int:
    middle = (stroke[:, 0].min() + stroke[:, 0].max()) / 2
    return int(np.clip((middle - box(0).x) // box(0).width, 0, BOXES - 1))


def _corner(digit: PenDigit) -> Any:
    area = inside(_box_of(np.vstack(digit.strokes)))
    return np.array([area.x, area.y])


def _names(boxes: Any) -> str:
    return ", ".join(str(index + 1) for index in sorted(boxes)) or "none"
