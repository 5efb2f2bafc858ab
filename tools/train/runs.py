"""A run's folder: what was asked, what came of it, and what it was made of.

`config.json` is written before training, `metrics.json` after it; beside them lie the model and the pictures.
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tools.terminal.problems import Problem

RUNS = Path("runs")
CONFIG, METRICS = "config.json", "metrics.json"
MODEL = "model.keras"
COURSE_MODEL = "model_trained.h5"
"""The name that the course gives its model."""


class RunError(Problem):
    """A folder that can't be used as a run's; the text says what to do."""


def fresh(name: str, wanted: Path | None) -> Path:
    """A folder for a new run: `wanted`, or runs/NAME, with a number where there is one. Raises RunError."""
    if wanted is not None:
        if (wanted / CONFIG).exists():
            raise RunError(f"{wanted} holds a run: go on with --resume {wanted}, or name another folder.")
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    number = 1
    while True:
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        if not (folder / CONFIG).exists():
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        number += 1


def read(run: Path, file: str) -> dict[str, Any]:
    """One of the run's two JSON files. Raises RunError."""
    try:
        return dict(json.loads((run / file).read_text("utf-8")))
    except (OSError, ValueError):
        raise RunError(f"{run} holds no run with a {file}.") from None


def add(run: Path, file: str, content: dict[str, Any]) -> None:
    """Put `content` into one of the run's JSON files beside what is there; it is whole at every instant."""
    path = run / file
    held = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    partial = run / f".partial-{file}"
    partial.write_text(json.dumps({**held, **content}, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, path)


def is_done(run: Path) -> bool:
    """Whether the run was trained and scored to its end."""
    return (run / METRICS).is_file() and "scores" in read(run, METRICS)


def all_runs() -> list[Path]:
    """The finished runs below runs/, in the order they were begun."""
    configs = sorted(RUNS.glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime)
    return [path.parent for path in configs if is_done(path.parent)]


def finished() -> dict[str, dict[str, Any]]:
    """The metrics of the last finished run of each preset below runs/."""
    found: dict[str, dict[str, Any]] = {}
    for run in all_runs():
        config = read(run, CONFIG)
        if not config.get("varied"):
            found[str(config.get("preset"))] = read(run, METRICS)
    return found


def environment() -> dict[str, str]:
    """The versions that a run depends on."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("smartcar", "tensorflow", "keras", "numpy", "opencv-python"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
