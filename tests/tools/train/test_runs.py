"""Runs of the course's experiments, with TensorFlow (`make test-train` installs it)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import REPOSITORY, wait_for
from tests.tools.train.training import small_data
from tools.terminal.problems import Problem
from tools.train import checkpoint, course, runs
from tools.train.cli import go_on
from tools.train.data import datasets
from tools.train.run import Job, execute
from tools.train.sweep import jobs_of, sweep_over

pytest.importorskip("tensorflow", reason="TensorFlow is not installed: make test-train")

PICTURES = {
    "curves.png",
    "network.png",
    "predictions.png",
    *(f"{kind}-{of}.png" for kind in ("confusion", "mistakes", "reliability") for of in ("mnist", "pen")),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of the course's last experiment."""
    return execute(Job("ex10_12", str(data), changes={"epochs": 4}), tmp_path_factory.mktemp("run"))


def weights(folder: Path) -> list[NDArray[np.float32]]:
    import keras

    return list(keras.saving.load_model(folder / runs.MODEL).get_weights())


def test_a_run_leaves_everything_in_its_folder(run: Path, data: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {*PICTURES, "model.keras", "model_trained.h5", "config.json", "metrics.json"}
    config, metrics = runs.read(run, runs.CONFIG), runs.read(run, runs.METRICS)
    assert config["settings"]["hidden"] == [1024, 512, 512]
    assert len(config["data"]) == 4, "the hashes of MNIST's four files"
    assert "tensorflow" in config["environment"]
    assert [row["epoch"] for row in metrics["history"]] == [1, 2, 3, 4]
    mnist = metrics["scores"]["mnist"]
    assert mnist["count"] == 200
    assert mnist["share"] > 0.7, "it learned"
    assert metrics["scores"]["pen"]["share"] < mnist["share"], "and fails on the pad, as the course says"
    assert np.trace(np.array(metrics["confusion"]["mnist"])) == mnist["right"]
    assert metrics["course_says"] == 0.9842


def test_the_model_is_what_the_course_saves(run: Path) -> None:
    import keras

    model = keras.saving.load_model(run / runs.COURSE_MODEL)
    assert [layer.units for layer in model.layers] == [1024, 512, 512, 10]
    for ours, saved in zip(weights(run), model.get_weights(), strict=True):
        assert np.array_equal(ours, saved)


def test_a_killed_run_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    job = Job("ex10_8", str(data), changes={"optimizer": "adam", "learning_rate": 0.001, "epochs": 10})
    whole, killed = execute(job, tmp_path / "whole"), tmp_path / "killed"
    program = (
        f"from pathlib import Path; from tools.train.run import *; execute({job!r}, Path({str(killed)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: checkpoint.exists(killed), 120, "a first epoch")
    finally:
        process.kill()
        process.wait()
    assert not runs.is_done(killed)
    go_on(killed)
    assert runs.is_done(killed)
    for uninterrupted, gone_on in zip(weights(whole), weights(killed), strict=True):
        assert np.array_equal(uninterrupted, gone_on)


def test_a_finished_run_is_not_gone_on_with(run: Path) -> None:
    with pytest.raises(Problem, match="finished already"):
        go_on(run)


def test_patience_ends_a_run_and_keeps_its_best_epoch(data: Path, tmp_path: Path) -> None:
    job = Job("ex10_12", str(data), patience=2, changes={"epochs": 40})
    history = runs.read(execute(job, tmp_path), runs.METRICS)["history"]
    shares = [row["held_out"] for row in history]
    best = int(np.argmax(shares))
    assert len(history) == best + 3 < 40
    import keras

    model = keras.saving.load_model(tmp_path / runs.MODEL)
    assert course.score(model, datasets.mnist(data, "validation"))[1] == pytest.approx(shares[best])


def test_a_sweep_compares_and_does_nothing_twice(data: Path, tmp_path: Path) -> None:
    jobs = jobs_of(Job("ex10_9", str(data), changes={"epochs": 1}), [])
    sweep_over(jobs, tmp_path)
    assert (tmp_path / "comparison.png").is_file()
    assert (tmp_path / "report.html").read_text().count("<img") == 3 * len(PICTURES)
    first = (tmp_path / "ex10_9b" / runs.METRICS).stat().st_mtime_ns
    sweep_over(jobs, tmp_path)
    assert (tmp_path / "ex10_9b" / runs.METRICS).stat().st_mtime_ns == first
    with pytest.raises(Problem, match="another run's"):
        sweep_over(jobs_of(Job("ex10_9", str(data), seed=1), []), tmp_path)


def test_drawings_are_trained_on(data: Path, tmp_path: Path) -> None:
    drawing = tmp_path / "mine.jsonl"
    drawing.write_text(json.dumps({"id": "1", "strokes": [[[60, 70], [60, 130]]]}) + "\n")
    run = execute(Job("ex10_4", str(data), drawings=(str(drawing),), changes={"epochs": 1}), tmp_path)
    assert runs.read(run, runs.METRICS)["drawings"] == 1
    assert str(drawing) in runs.read(run, runs.CONFIG)["data"]


def test_the_experiment_that_trains_nothing_draws_its_network(data: Path, tmp_path: Path) -> None:
    run = execute(Job("ex10_2", str(data)), tmp_path)
    assert (run / "network.png").is_file()
    assert runs.read(run, runs.METRICS)["scores"] == {}
