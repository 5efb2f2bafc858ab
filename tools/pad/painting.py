"""What the pad's windows show."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from messages.pad import BOXES, EMPTY, HEIGHT, UNREADABLE, WIDTH, BoxDigit, PadResult, box
from messages.pad_commands import BoxView, PadViews
from messages.pad_follower import PadFollower
from models.ink.strokes import draw
from tools.pad.percent import percent

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

LINE_HEIGHT = 24
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WORDS = {EMPTY: "empty", UNREADABLE: "doubtful"}
_RED, _BLUE, _GREEN, _ORANGE, _GREY = (0, 0, 255), (200, 60, 0), (60, 130, 30), (0, 110, 210), (150, 150, 150)
_KEYS = ("e erase  1-5 a box  u undo  r recognise  s show", "+ - brush  a automatic  q quit")
_CROP_SIDE, _MARGIN, _BAR_HEIGHT = 140, 14, 15
_VIEWS_WIDTH = BOXES * (_CROP_SIDE + _MARGIN) + _MARGIN


def window(follower: PadFollower, reading: PadResult | None, sentence: str) -> Pixels:
    """The canvas with its frames, the reading beneath them and a line of words: BGR."""
    picture = np.full((HEIGHT + LINE_HEIGHT, WIDTH, 3), 255, np.uint8)
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    for stroke in follower.strokes.values():
        draw(ink, stroke.points, stroke.brush)
    for place, words in enumerate(_KEYS):
        _write(picture, words, (10, 18 + 18 * place), _BLUE, 0.45)
    for index in range(BOXES):
        frame = box(index)
        cv2.rectangle(picture, (frame.x, frame.y), (frame.x + frame.width, frame.y + frame.height), _RED)
    picture[:HEIGHT][ink > 0] = 0
    if reading is not None:
        current = reading.revision == follower.revision
        for index, digit in enumerate(reading.digits):
            _beneath(picture, index, digit, current)
    picture[HEIGHT:] = 238
    state = f"brush {follower.brush}, automatic {'on' if follower.automatic else 'off'}"
    if not follower.in_step:
        state += ", waiting for the canvas"
    shown = sentence or (reading.problem if reading is not None else "")
    _write(picture, _plain(shown or state), (10, HEIGHT + 16), _RED if shown else (90, 90, 90), 0.4)
    return picture


def views(shown: PadViews) -> Pixels:
    """The five crops, enlarged, and ten bars beneath each: BGR."""
    height = 2 * _MARGIN + 22 + _CROP_SIDE + 10 * _BAR_HEIGHT + 10
    picture = np.full((height, _VIEWS_WIDTH, 3), 255, np.uint8)
    for index, view in enumerate(shown.boxes):
        _view(picture, _MARGIN + index * (_CROP_SIDE + _MARGIN), view)
    return picture


def _view(picture: Pixels, left: int, view: BoxView) -> None:
    digit = view.digit
    _write(picture, _head(view), (left, _MARGIN + 12), _colour(digit, True), 0.55)
    top = _MARGIN + 22
    crop = np.frombuffer(view.crop.pixels, np.uint8).reshape(view.crop.height, view.crop.width)
    large = cv2.resize(crop, (_CROP_SIDE, _CROP_SIDE), interpolation=cv2.INTER_NEAREST)
    picture[top : top + _CROP_SIDE, left : left + _CROP_SIDE] = large[:, :, None]
    top += _CROP_SIDE + _MARGIN
    for value, share in enumerate(view.probabilities):
        y = top + value * _BAR_HEIGHT
        _write(picture, str(value), (left, y + 9), (60, 60, 60), 0.4)
        right = left + 14 + round(share * (_CROP_SIDE - 60))
        cv2.rectangle(picture, (left + 14, y), (right, y + 8), _colour(digit, str(value) == digit.label), -1)
        _write(picture, percent(share), (left + _CROP_SIDE - 42, y + 9), (60, 60, 60), 0.38)


def _beneath(picture: Pixels, index: int, digit: BoxDigit, current: bool) -> None:
    frame = box(index)
    colour = _colour(digit, True) if current else _GREY
    foot = frame.y + frame.height
    _write(picture, digit.label, (frame.x + 4, foot + 34), colour, 1.1, 2)
    if digit.label in _WORDS:
        _write(picture, _WORDS[digit.label], (frame.x + 34, foot + 28), colour, 0.42)
    elif digit.runner_up:
        _write(picture, percent(digit.confidence), (frame.x + 34, foot + 20), colour, 0.42)
        _write(
            picture,
            f"or {digit.runner_up}, {percent(digit.runner_up_confidence)}",
            (frame.x + 34, foot + 37),
            _GREY,
            0.4,
        )


def _head(view: BoxView) -> str:
    digit = view.digit
    return _WORDS.get(digit.label, f"{digit.label}  {percent(digit.confidence)}")


def _colour(digit: BoxDigit, chosen: bool) -> Colour:
    if not chosen or digit.label == EMPTY:
        return _GREY
    return _ORANGE if digit.label == UNREADABLE else _GREEN


def _write(
    picture: Pixels, words: str, where: tuple[int, int], colour: Colour, scale: float, thickness: int = 1
) -> None:
    cv2.putText(picture, words, where, _FONT, scale, colour, thickness, cv2.LINE_AA)


def _plain(words: str) -> str:
    """Only what OpenCV's font has, and only as much as fits."""
    return words.encode("ascii", "replace").decode()[:84]
