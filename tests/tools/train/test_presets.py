"""The course's experiments are what the course says they are."""

from __future__ import annotations

import pytest

from tools.terminal.problems import Problem
from tools.train.presets import OURS, PRESETS, family
from tools.train.run import Job
from tools.train.sweep import jobs_of


def test_every_experiment_of_the_chapter_has_its_preset() -> None:
    experiments = {name.rstrip("abc") for name in PRESETS}
    assert experiments == {f"ex10_{number}" for number in range(2, 13)}
    with_figures = {name: preset.course_says for name, preset in PRESETS.items() if preset.course_says}
    assert with_figures == {
        "ex10_4": 0.8130,
        "ex10_6": 0.8807,
        "ex10_9a": 0.7499,
        "ex10_11b": 0.957,
        "ex10_12": 0.9842,
    }


def test_an_experiment_with_variants_is_a_family() -> None:
    assert family("ex10_9") == ["ex10_9a", "ex10_9b", "ex10_9c"]
    assert [PRESETS[name].learning_rate for name in family("ex10_9")] == [0.01, 0.1, 1.0]
    assert family("ex10_12") == ["ex10_12"]
    with pytest.raises(KeyError):
        family("ex10_1")  # shows data, trains nothing


def test_a_sweep_is_every_variant_times_every_value() -> None:
    jobs = jobs_of(Job("ex10_9", "somewhere", seed=3), ["batch=16,64", "hidden=512,256-128"])
    assert len(jobs) == 12
    job = jobs["ex10_9b batch=64 hidden=[256, 128]"]
    assert (job.course.learning_rate, job.course.batch) == (0.1, 64)
    assert list(job.course.hidden) == [256, 128]
    assert job.seed == 3
    assert job.is_varied


def test_a_sweep_over_seeds_changes_no_preset() -> None:
    jobs = jobs_of(Job("ex10_6", "somewhere"), ["seed=1,2"])
    assert [(job.seed, job.changes) for job in jobs.values()] == [(1, {}), (2, {})]


def test_a_sweep_of_nothing_named_is_the_chapter_on_hyperparameters() -> None:
    assert {job.preset[:-1] for job in jobs_of(Job(OURS, "somewhere"), []).values()} == {
        "ex10_7",
        "ex10_9",
        "ex10_10",
    }


@pytest.mark.parametrize(
    ("preset", "vary", "problem"),
    [
        ("ex10_6", [], "say what to vary"),
        ("ex10_6", ["colour=red"], "learning_rate"),
        ("ex10_99", ["batch=1,2"], "list-presets"),
    ],
)
def test_a_sweep_that_makes_no_sense(preset: str, vary: list[str], problem: str) -> None:
    with pytest.raises(Problem, match=problem):
        jobs_of(Job(preset, "somewhere"), vary)
