"""The Colab notebooks: twins in their code, and that code runs from top to bottom."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from tests.conftest import REPOSITORY
from tests.tools.train.training import small_data

NOTEBOOKS = REPOSITORY / "tools" / "colab"
ENGLISH, KOREAN = NOTEBOOKS / "smartcar.ipynb", NOTEBOOKS / "smartcar_ko.ipynb"

RUNNER = """
import json, sys
shared = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin)):
    exec(compile(source, f"cell {number}", "exec"), shared)
"""
"""Runs cells as a notebook does: one after another, in one namespace, in no file."""


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    held = json.loads(notebook.read_text("utf-8"))
    assert (held["nbformat"], held["nbformat_minor"]) == (4, 5)
    return [cell for cell in held["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_the_twins_do_the_same_and_say_it_in_their_languages() -> None:
    english, korean = cells(ENGLISH, "code"), cells(KOREAN, "code")
    assert [source(cell) for cell in english] == [source(cell) for cell in korean]
    said = [source(cell) for cell in cells(KOREAN, "markdown")]
    assert len(said) == len(cells(ENGLISH, "markdown"))
    assert all(any("가" <= character <= "힣" for character in text) for text in said)


@pytest.mark.parametrize("notebook", [ENGLISH, KOREAN], ids=["english", "korean"])
def test_a_notebook_is_kept_without_what_it_once_printed(notebook: Path) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(notebook, "code"))


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed: make test-train"
)
def test_every_cell_runs_from_top_to_bottom(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data")
    (data / "cifar10").mkdir()
    rng = np.random.default_rng(0)
    photos = {
        f"{what}_{part}": rng.integers(0, 10 if what == "y" else 256, shape, np.uint8)
        for part in ("train", "test")
        for what, shape in (("x", (10, 32, 32, 3)), ("y", (10, 1)))
    }
    np.savez(data / "cifar10" / "cifar10.npz", **photos)  # type: ignore[arg-type]
    small = f"DATA, COURSE_EPOCHS, OUR_EPOCHS, OUR_SCALE, OUR_FLOOR = {str(data)!r}, 2, 1, 0.01, 0.0"
    sources = [
        small if cell["metadata"].get("tags") == ["parameters"] else source(cell)
        for cell in cells(ENGLISH, "code")
    ]
    assert small in sources, "no cell is tagged as the one with the parameters"
    work = tmp_path / "content"
    work.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(sources),
        cwd=work,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (work / "model_trained.h5").stat().st_size > 1_000_000
    assert "ex10_12" in (work / "report.html").read_text()
    zipfile.ZipFile(work / "bundle.zip").extractall(work / "bundle")
    assert Bundle.load(work / "bundle").manifest.name == "mine"
