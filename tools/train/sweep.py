"""Several runs that differ in one thing or more, and their comparison."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from tools.terminal.output import say
from tools.terminal.problems import Problem
from tools.train import runs
from tools.train.presets import OURS, Preset, family
from tools.train.run import Job, execute

HYPERPARAMETERS = ("ex10_7", "ex10_9", "ex10_10")
"""The course's experiments on shape, learning rate and batch size: what is swept if nothing is named."""


def jobs_of(job: Job, vary: Sequence[str]) -> dict[str, Job]:
    """The runs of a sweep by name: the variants of the job's experiment, times the values to vary.

    `vary` holds texts like `batch=16,64`. Raises Problem.
    """
    if job.preset == OURS and not vary:
        presets = [name for experiment in HYPERPARAMETERS for name in family(experiment)]
    elif job.preset == OURS:
        presets = [OURS]
    else:
        try:
            presets = family(job.preset)
        except KeyError:
            raise Problem(
                f"There is no preset {job.preset}; smartcar train --list-presets shows them."
            ) from None
    axes = [_axis(text, presets[0]) for text in vary]
    jobs = {}
    for name, values in product(presets, product(*axes)):
        chosen = dict(values)
        title = " ".join([name, *(f"{field}={value}" for field, value in values)])
        seed = chosen.pop("seed", job.seed)
        jobs[title] = replace(job, preset=name, seed=seed, changes={**job.changes, **chosen})
    if len(jobs) < 2:
        raise Problem(f"{job.preset} has no variants; say what to vary, such as --vary batch=16,64.")
    return jobs


def _axis(text: str, preset: str) -> list[tuple[str, Any]]:
    name, _, values = text.partition("=")
    if preset == OURS:
        from tools.train.fit import TrainingSettings

        known = {each.name for each in fields(TrainingSettings)} - {"mixture", "threads"}
    else:
        known = {each.name for each in fields(Preset)} - {"name", "shows", "course_says", "watched"}
        known.add("seed")
    if name not in known or not values:
        raise Problem(
            f"{text!r} can't be varied; say FIELD=VALUE,VALUE with one of {', '.join(sorted(known))}."
        )
    return [(name, _value(value)) for value in values.split(",")]


def _value(text: str) -> Any:
    """A number, a word, or numbers joined by - for the layers: hidden=256-128,512."""
    try:
        return json.loads(text)
    except ValueError:
        parts = text.split("-")
        return [int(part) for part in parts] if all(part.isdigit() for part in parts) else text


def sweep_over(jobs: dict[str, Job], folder: Path, cluster: str | None = None) -> Path:
    """Run all jobs, one after another or on a Ray cluster, below `folder`, and compare them there.

    What is finished there already is not run again, so a sweep can be gone on with. Raises Problem.
    """
    from tools.train.report import comparison, page

    places = {title: folder / title.replace(" ", "_").replace("/", "_") for title in jobs}
    for title, run in places.items():
        if (run / runs.CONFIG).exists() and Job.of(run) != jobs[title]:
            raise Problem(f"{run} is another run's: name another folder for this sweep with --run.")
    due = {title: job for title, job in jobs.items() if not runs.is_done(places[title])}
    try:
        if cluster is not None:
            for title, files in _on_ray(due, cluster):
                _unpack(files, places[title])
        else:
            for title, job in due.items():
                say(f"— {title}")
                execute(job, places[title], resume=True)
    except (ValueError, TypeError) as error:
        raise Problem(str(error)) from None
    comparison(list(places.values()), folder / "comparison.png")
    (folder / "report.html").write_text(page(list(places.values())), "utf-8")
    for run in places.values():
        scores = runs.read(run, runs.METRICS)["scores"]
        share = scores["mnist"]["share"] if scores else 0.0
        say(f"{run.name:40} {share:7.2%}")
    say(f"{folder}: comparison.png, report.html")
    return folder


def _on_ray(jobs: dict[str, Job], cluster: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The files of each run as it is done, from machines that have smartcar and the data. Raises Problem."""
    try:
        import ray
    except ImportError:
        raise Problem("A sweep on a cluster needs Ray: `pip install 'smartcar[train,ray]'`.") from None
    ray.init(address=None if cluster == "local" else cluster, log_to_driver=False)
    away = ray.remote(num_cpus=1)(_packed)
    waiting = {away.remote(job): title for title, job in jobs.items()}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        title = waiting.pop(done)
        say(f"— {title} is done")
        yield title, ray.get(done)


def _packed(job: Job) -> dict[str, bytes]:
    """Run a job somewhere and hand over what its folder holds."""
    with tempfile.TemporaryDirectory() as folder:
        run = execute(job, Path(folder) / "run")
        return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def _unpack(files: dict[str, bytes], run: Path) -> None:
    for name, content in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content)
