"""A picture of what a model reads wrong: each digit as it was written, what it is and what was read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.evaluate.candidates import ComparedModel
from tools.evaluate.scores import DigitOutcomes
from tools.evaluate.test_sets import DIGIT_SETS, outcome
from tools.terminal.problems import Problem

Pixels = NDArray[np.uint8]

MOST = 24
"""Digits of a set, the surest mistakes first."""
_COLUMNS = 12
_INK, _TILE, _TITLE = 56, (88, 68), 26
"""Side of a digit; height and width of its tile; height of a set's title."""


def sheet(candidate: ComparedModel, data: Path, sets: tuple[str, ...], path: Path) -> None:
    """Write the mistakes on single digits as a picture; sets of other things are left out.

    Raises DataError, ModelError, and Problem where there is no such set or the picture can't be written.
    """
    rows = [_rows(outcome(candidate, data, name)) for name in sets if name in DIGIT_SETS]
    if not rows:
        raise Problem(f"--mistakes shows sets of single digits: {', '.join(DIGIT_SETS)}.")
    try:
        written = cv2.imwrite(str(path), np.vstack(rows))
    except cv2.error:
        written = False
    if not written:
        raise Problem(f"{path} can't be written: give a file ending in .png in a folder that is there.")


def _rows(answered: DigitOutcomes) -> Pixels:
    wrong = answered.mistakes()
    shown = wrong[:MOST]
    told = f"{answered.set}: {len(wrong)} wrong of {len(answered.labels)}"
    told += f", the {len(shown)} surest" if len(shown) < len(wrong) else ""
    title = np.full((_TITLE, _COLUMNS * _TILE[1]), 255, np.uint8)
    cv2.putText(title, told, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (0,), 1, cv2.LINE_AA)
    tiles = [_tile(answered, int(index)) for index in shown]
    tiles += [np.full(_TILE, 255, np.uint8)] * (-len(tiles) % _COLUMNS)
    lines = [np.hstack(tiles[start : start + _COLUMNS]) for start in range(0, len(tiles), _COLUMNS)]
    return np.asarray(np.vstack([title, *lines]), np.uint8)


def _tile(answered: DigitOutcomes, index: int) -> Pixels:
    """The digit, dark on white, and below it what it is, was read as, and how sure in percent."""
    ink = answered.inks[index]
    scale = _INK / max(ink.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=how)
    tile = np.full(_TILE, 255, np.uint8)
    top, left = 4 + (_INK - small.shape[0]) // 2, (_TILE[1] - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = 255 - small
    said = f"{answered.labels[index]} as {answered.said[index]}, {100 * answered.confidence[index]:.0f}"
    cv2.putText(tile, said, (3, _TILE[0] - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0,), 1, cv2.LINE_AA)
    return tile
