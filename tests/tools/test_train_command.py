"""The commands that train and score, where something is missing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import SHARED
from tools import evaluate
from tools.train.command import train

DATA = SHARED / "data"


def application(command: object) -> typer.Typer:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    return app


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed here")
def test_training_without_tensorflow_names_the_remedy(tmp_path: Path) -> None:
    result = CliRunner().invoke(application(train), [str(tmp_path)])
    assert result.exit_code == 2
    assert "pip install 'smartcar[train]'" in result.stderr


def test_scoring_without_the_sets_names_the_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(application(evaluate.command), [str(tmp_path)])
    assert result.exit_code == 1
    assert "is missing" in result.stderr


def test_scoring_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    result = CliRunner().invoke(application(evaluate.command), [str(tmp_path), "--bundle", str(tmp_path)])
    assert result.exit_code == 1
    assert "manifest.json is missing" in result.stderr


def test_an_unknown_set_is_named_with_those_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(application(evaluate.command), [str(tmp_path), "--set", "svhn"])
    assert result.exit_code == 1
    assert "svhn" in result.stderr
    assert "optdigits" in result.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data, the handwriting sets, is absent")
def test_scores_are_one_object_a_line() -> None:
    result = CliRunner().invoke(
        application(evaluate.command), [str(DATA), "--set", "pen", "--set", "optdigits", "--json"]
    )
    assert result.exit_code == 0
    scores = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [score["count"] for score in scores] == [1248, 249, 1934]
    assert all(score["low"] < score["share"] < score["high"] for score in scores)
    assert all(len(score["model"]) == 64 for score in scores)
