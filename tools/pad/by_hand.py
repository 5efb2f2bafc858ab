"""`smartcar pad write, erase, undo, recognize, brush, automatic, save`: one thing at a time."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from messages.pad import BRUSH, BoxDigit, PadStroke
from messages.pad_commands import (
    PadAutomatic,
    PadBrush,
    PadDone,
    PadErase,
    PadReading,
    PadRecognize,
    PadSave,
    PadStrokes,
    PadUndo,
    PadWrite,
    PadWritten,
)
from services.config import Settings
from tools.pad.client import pad_client
from tools.pad.percent import percent
from tools.terminal.output import print_json, print_table, say
from tools.terminal.problems import Problem

AUTHOR = "cli"


def write(settings: Settings, digits: str, seed: int | None, *, json: bool) -> int:
    """Write digits into the boxes and say how they are read."""
    try:
        command = PadWrite(digits=digits, seed=seed, author=AUTHOR)
    except ValidationError:
        raise Problem(
            f"{digits!r} can't be written; give up to five digits, and - to pass over a box."
        ) from None
    with pad_client(settings) as client:
        client.wait_until_ready()
        written = client.ask(command, PadWritten)
        reading = client.ask(PadRecognize(), PadReading)
    if json:
        print_json({"written": digits, "seed": written.seed, **as_content(reading)})
    else:
        say(f"written with seed {written.seed}")
        show_reading(reading)
    return 0


def recognize(settings: Settings, *, json: bool) -> int:
    with pad_client(settings) as client:
        client.wait_until_ready()
        reading = client.ask(PadRecognize(), PadReading)
    if json:
        print_json(as_content(reading))
    else:
        show_reading(reading)
    return 0


def erase(settings: Settings, box: int | None) -> int:
    with pad_client(settings) as client:
        client.ask(PadErase(box=box, author=AUTHOR), PadDone)
    return 0


def undo(settings: Settings) -> int:
    """Take back the last thing done, whoever did it."""
    with pad_client(settings) as client:
        client.ask(PadUndo(), PadDone)
    return 0


def brush(settings: Settings, radius: int) -> int:
    with pad_client(settings) as client:
        client.ask(PadBrush(radius=radius), PadDone)
    return 0


def automatic(settings: Settings, *, on: bool) -> int:
    """Read while somebody draws, or not."""
    with pad_client(settings) as client:
        client.ask(PadAutomatic(on=on), PadDone)
    return 0


def save(settings: Settings, path: Path | None, line_id: str | None) -> int:
    """The canvas as a line for `play`: printed, or put to the end of a file."""
    with pad_client(settings) as client:
        strokes = client.ask(PadSave(), PadStrokes).strokes
    line = as_line(strokes, line_id or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if path is None:
        print_json(line)
        return 0
    content = (json_module.dumps(line, ensure_ascii=False) + "\n").encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)  # in one piece: two that save at once don't mix their lines
    except OSError as error:
        raise Problem(f"{path} can't be written ({error.strerror}); name another file.") from None
    return 0


def as_line(strokes: Sequence[PadStroke], line_id: str) -> dict[str, Any]:
    """Strokes in the format of `play`; the brush where it is not the usual one and the same for all."""
    line: dict[str, Any] = {
        "id": line_id,
        "strokes": [[_point(*each) for each in stroke.points] for stroke in strokes],
    }
    brushes = {stroke.brush for stroke in strokes}
    if len(brushes) == 1 and brushes != {BRUSH}:
        line["brush"] = brushes.pop()
    return line


def _point(x: float, y: float) -> list[float]:
    return [int(value) if value == int(value) else value for value in (x, y)]


def as_content(reading: PadReading) -> dict[str, Any]:
    return {
        "digits": reading.text,
        "confidence": [round(digit.confidence, 4) for digit in reading.digits],
        "runner_up": [digit.runner_up for digit in reading.digits],
        "revision": reading.revision,
        "model": reading.model.model_dump() if reading.model else None,
    }


def show_reading(reading: PadReading) -> None:
    print_table(
        ("box", "digit", "confidence", "runner-up"),
        ((str(box), *_cells(digit)) for box, digit in enumerate(reading.digits, 1)),
    )
    if reading.model is not None:
        say(f"{reading.text}, says {reading.model.name} {reading.model.version}")


def _cells(digit: BoxDigit) -> tuple[str, str, str]:
    if not digit.runner_up:
        return digit.label, "", ""
    runner_up = f"{digit.runner_up} {percent(digit.runner_up_confidence)}"
    return digit.label, percent(digit.confidence), runner_up
