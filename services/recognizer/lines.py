"""Straight lines that hide digits: ruled paper, the grid of a table, the frame of a box."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def erase_lines(mask: Pixels) -> Pixels:
    """The mask (0 or 255) without its long lines near the horizontal and the vertical.

    A line is what an opening along it leaves; strokes that cross one are bridged again.
    """
    height, width = mask.shape
    longer, shorter = max(height, width), min(height, width)
    # Longer than a digit's strokes: than the digits are tall in a row of them, than most of a single cell.
    least = max(24, int(0.4 * longer), int(min(1.2 * shorter, 0.62 * longer)))
    # Long lines are found as well at half scale, in a fraction of the time.
    step = 2 if least >= 64 else 1
    small = mask if step == 1 else _halved(mask)
    rest = mask
    for horizontal in (True, False):
        run = width if horizontal else height
        if run < least:
            continue
        line, thickness = _line(small, horizontal, least // step)
        if not thickness:
            continue
        line = np.asarray(cv2.dilate(line, np.ones((3, 3), np.uint8)), dtype=np.uint8)
        full = line if step == 1 else cv2.resize(line, (width, height), interpolation=cv2.INTER_NEAREST)
        bare = cv2.subtract(rest, full)
        bridge = min(2 * step * thickness + 1, 15)
        crossing = cv2.morphologyEx(bare, cv2.MORPH_CLOSE, _bar(bridge, not horizontal))
        rest = np.asarray(cv2.bitwise_or(bare, cv2.bitwise_and(crossing, rest)), dtype=np.uint8)
    return rest


def _line(mask: Pixels, horizontal: bool, least: int) -> tuple[Pixels, int]:
    """The straight runs that together reach `least` pixels along one direction, and how thick they are.

    A line that leans is a staircase of short runs that touch.
    """
    thick = cv2.dilate(mask, _bar(3, not horizontal))
    runs = cv2.morphologyEx(thick, cv2.MORPH_OPEN, _bar(max(12, least // 3), horizontal))
    outlines, _ = cv2.findContours(runs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    line = np.zeros_like(mask)
    thickness = 0
    for outline in outlines:
        _, _, w, h = cv2.boundingRect(outline)
        reach, across = (w, h) if horizontal else (h, w)
        if reach >= least and across <= 0.35 * reach:
            cv2.fillPoly(line, [outline], (255,))
            thickness = max(thickness, math.ceil(cv2.contourArea(outline) / reach))
    return np.asarray(cv2.bitwise_and(line, runs), dtype=np.uint8), thickness


def _halved(mask: Pixels) -> Pixels:
    """Half the size; what is set in any of four pixels stays set."""
    height, width = mask.shape
    thick = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    small = cv2.resize(thick, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, dtype=np.uint8)


def _bar(length: int, horizontal: bool) -> Pixels:
    return np.ones((1, length) if horizontal else (length, 1), np.uint8)
