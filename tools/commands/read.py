"""`smartcar read`: the codes in image files, without the running car."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.bundle.bundle import Bundle, BundleError
from models.inference.runtime import ModelError
from models.inference.test_time_averaging import CarefulClassifier
from services.capture.files import PHOTO_SUFFIXES
from services.config import Settings
from services.recognizer.pipeline import Reader
from services.recognizer.service import FACTORY_BUNDLE
from tools.terminal.output import print_json, silence_libraries
from tools.terminal.problems import Problem

MAX_FILE_BYTES = 256 << 20


class Unreadable(Exception):
    """The file holds no image that can be read; the message says why."""


def show(settings: Settings, paths: Sequence[Path], model: Path | None, *, json: bool) -> int:
    """Read each file in turn, for a folder the photos in it. A line a file; errors on standard error.

    Returns 1 where any file couldn't be read. Raises Problem where the model can't be used.
    """
    silence_libraries()
    reader = _reader(settings, model)
    failed = False
    for path in _files(paths):
        try:
            readings = _readings(reader, path)
        except Unreadable as error:
            failed = True
            _complain(path, str(error), json)
            continue
        if json:
            print_json({"path": str(path), "readings": readings})
        else:
            print(f"{path}: {_sentence(readings)}", flush=True)
    return 1 if failed else 0


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The paths, and in place of a folder its photos by name; a folder without any stands for itself."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.iterdir() if each.suffix.lower() in PHOTO_SUFFIXES) or [
                path
            ]
        else:
            yield path


def _reader(settings: Settings, model: Path | None) -> Reader:
    folder = model or settings.recognizer.bundle or FACTORY_BUNDLE
    try:
        classifier = CarefulClassifier(Bundle.load(folder))
    except (BundleError, ModelError) as error:
        raise Problem(f"the model {folder} can't be used: {error}") from error
    return Reader(
        classifier, certainty=settings.recognizer.certainty, min_digits=settings.recognizer.min_digits
    )


def _readings(reader: Reader, path: Path) -> list[dict[str, Any]]:
    """The lines of a file from top to bottom. A box is in pixels of the picture as it is shown."""
    return [
        {
            "digits": line.text,
            "confidence": round(line.confidence, 4),
            "box": dict(zip(("x", "y", "width", "height"), map(int, line.box), strict=True)),
        }
        for line in reader.read_any_way_up(_pixels(path))
    ]


def _pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture, BGR, turned as its EXIF data say. Raises Unreadable."""
    try:
        if path.is_dir():
            raise Unreadable("holds no photo; put JPEG or PNG files there")
        if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            raise Unreadable("is too large for a picture")
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"can't be opened: {error.strerror}") from None
    if not content:
        raise Unreadable("is empty")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # too many pixels
        raise Unreadable(f"can't be decoded: {error.err or error}") from None
    if pixels is None:
        raise Unreadable("is no picture that can be read, or is damaged")
    return np.asarray(pixels, np.uint8)


def _complain(path: Path, why: str, json: bool) -> None:
    if json:
        print(json_module.dumps({"path": str(path), "error": why}, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"{path} {why}", file=sys.stderr)


def _sentence(readings: list[dict[str, Any]]) -> str:
    if not readings:
        return "nothing to read"
    return ", ".join(f"{reading['digits']} ({reading['confidence']:.0%})" for reading in readings)
