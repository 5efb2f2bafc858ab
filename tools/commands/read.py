"""`smartcar read`: the codes in image files, without the running car."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from messages.text import printable
from models.bundle.bundle import Bundle, BundleError
from models.eye.eye import Eye
from models.inference.runtime import ModelError
from models.inference.test_time_averaging import CarefulClassifier
from services.capture.photo import PhotoError, read_photo
from services.capture.picture_header import FOREIGN_SUFFIXES, PHOTO_SUFFIXES
from services.config import Settings
from services.recognizer.pipeline import Reader
from services.recognizer.service import FACTORY_BUNDLE
from tools.terminal.output import print_json, say, silence_libraries
from tools.terminal.problems import Problem


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
        except PhotoError as error:
            failed = True
            _complain(path, str(error), json)
            continue
        if json:
            print_json({"path": str(path), "readings": readings})
        else:
            say(f"{_shown(path)}: {_sentence(readings)}")
    return 1 if failed else 0


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The paths, and in place of a folder its pictures by name, readable or not."""
    suffixes = PHOTO_SUFFIXES | FOREIGN_SUFFIXES
    for path in paths:
        if not path.is_dir():
            yield path
        elif photos := sorted(each for each in path.iterdir() if each.suffix.lower() in suffixes):
            yield from photos
        else:
            yield path


def _reader(settings: Settings, model: Path | None) -> Reader:
    folder = model or settings.recognizer.bundle or FACTORY_BUNDLE
    try:
        bundle = Bundle.load(folder)
        return Reader(
            CarefulClassifier(bundle),
            Eye.of(bundle),
            certainty=settings.recognizer.certainty,
            min_digits=settings.recognizer.min_digits,
        )
    except (BundleError, ModelError) as error:
        raise Problem(f"The model {folder} can't be used: {error}") from error


def _readings(reader: Reader, path: Path) -> list[dict[str, Any]]:
    """The lines of a file from top to bottom. A box is in pixels of the picture as it is shown."""
    return [
        {
            "digits": line.text,
            "confidence": round(line.confidence, 4),
            "box": dict(zip(("x", "y", "width", "height"), map(int, line.box), strict=True)),
        }
        for line in reader.read_any_way_up(read_photo(path))
    ]


def _complain(path: Path, why: str, json: bool) -> None:
    if json:
        print_json({"path": str(path), "error": why}, sys.stderr)
    else:
        say(f"{_shown(path)} {why}", file=sys.stderr)


def _shown(path: Path) -> str:
    """The path for a terminal, whatever its bytes."""
    return printable(str(path), longest=4096)


def _sentence(readings: list[dict[str, Any]]) -> str:
    if not readings:
        return "nothing to read"
    return ", ".join(f"{reading['digits']} ({reading['confidence']:.0%})" for reading in readings)
