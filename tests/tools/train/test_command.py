"""`smartcar train` where nothing is trained: what there is, what is missing, what makes no sense."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.terminal.problems import Problem
from tools.train import runs
from tools.train.cli import app, show_presets
from tools.train.report import page


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed here")
def test_training_without_tensorflow_names_the_remedy() -> None:
    result = CliRunner().invoke(app, ["--data", "somewhere"])
    assert result.exit_code == 2
    assert "pip install 'smartcar[train]'" in result.stderr


def test_presets_are_shown_with_the_courses_figure_and_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = runs.fresh("ex10_6", None)
    runs.add(run, runs.CONFIG, {"preset": "ex10_6", "varied": False})
    runs.add(run, runs.METRICS, {"scores": {"mnist": {"share": 0.8812}}})
    show_presets()
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert len(rows) == 21
    assert rows["ex10_6"].split()[-2:] == ["88.07%", "88.12%"]
    assert rows["ex10_12"].split()[-1] == "98.42%"


def test_a_new_run_gets_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = runs.fresh("ex10_6", None)
    runs.add(first, runs.CONFIG, {})
    assert runs.fresh("ex10_6", None) == Path("runs/ex10_6-2")
    with pytest.raises(runs.RunError, match="--resume"):
        runs.fresh("ex10_6", first)


def test_a_report_needs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match="no run below runs/"):
        CliRunner().invoke(app, ["report"], catch_exceptions=False)
    with pytest.raises(runs.RunError, match="holds no run"):
        page([tmp_path])
