"""The environment of the others, `.venv-peers`: smartcar, and what it is measured beside, from PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.terminal.problems import Problem

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".venv-peers"
PACKAGES = ("iceoryx2", "eclipse-zenoh", "onnx", "onnxruntime", "tensorflow-cpu", "rapidocr")
_ALSO_TOLD = ("pyzmq", "numpy", "opencv-python", "ai-edge-litert", "keras")
_VERSIONS = """
import importlib.metadata as about, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = about.version(name)
    except about.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Environment:
    """`versions` of the packages that are there; `absent`: why others are not."""

    python: str
    versions: dict[str, str]
    absent: dict[str, str]


def prepare(folder: Path = FOLDER, packages: tuple[str, ...] = PACKAGES) -> Environment:
    """Make the environment where it isn't yet, package by package. Raises Problem where none can be made."""
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [*_pip(python), "setuptools"],
            [*_pip(python), "--no-build-isolation", "--prefer-binary", "-e", str(ROOT)],
        ):
            if why := _failed(command):
                raise Problem(f"The environment {folder} can't be made: {why}.")
    there = _versions(python, packages)
    absent = {name: why for name in packages if name not in there if (why := _failed([*_pip(python), name]))}
    return Environment(python, _versions(python, (*packages, *_ALSO_TOLD)), absent)


def _pip(python: str) -> list[str]:
    locked = str(ROOT / "requirements.lock")
    return [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", locked]


def _failed(command: list[str]) -> str:
    """Why the command failed, in its last line; empty where it did not."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    said = run.stderr.strip().splitlines() or ["it does not say why"]
    return said[-1] if run.returncode else ""


def _versions(python: str, names: tuple[str, ...]) -> dict[str, str]:
    run = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(run.stdout)
    return found
