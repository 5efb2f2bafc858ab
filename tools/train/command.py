"""`smartcar train`: the function is the command; whoever has a Typer application mounts it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[Path, typer.Argument(help="The folder that holds the data sets.")],
    run: Annotated[Path, typer.Option(help="Where the run is kept.")] = Path("runs/digits"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the digits, each time varied anew.")] = 14,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="End by then, wherever the epochs are.")
    ] = None,
    width: Annotated[int, typer.Option(min=4, max=128, help="Channels of the first layers.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed varies the digits in the same way.")] = 0,
    scale: Annotated[
        float, typer.Option(min=0.001, max=10, help="Size of an epoch against the usual.")
    ] = 1.0,
    version: Annotated[str, typer.Option(help="Semantic version of the bundle.")] = "0.1.0",
    release: Annotated[int, typer.Option(min=0, help="Release counter of the bundle.")] = 1,
    precision: Annotated[str, typer.Option(help="float32 or int8 (weights).")] = "int8",
    commit: Annotated[str | None, typer.Option(help="Commit of the code, for the manifest.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads for TensorFlow; 0 is its own choice.")] = 0,
) -> None:
    """Train on real digits; model.keras, bundle/, metrics.json and config.json stay in the run's folder."""
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        typer.echo("Training needs TensorFlow: pip install 'smartcar[train]'.", err=True)
        raise typer.Exit(2) from None
    from tools.evaluate import measured
    from tools.train.datasets import DataError
    from tools.train.epochs import validation
    from tools.train.export import add_metrics, write_bundle
    from tools.train.fit import Settings, fit
    from tools.train.mixture import Mixture

    if precision not in ("float32", "int8"):
        raise typer.BadParameter("must be float32 or int8", param_hint="--precision")
    settings = Settings(
        epochs=epochs,
        minutes=minutes,
        width=width,
        seed=seed,
        threads=threads,
        mixture=Mixture().scaled(scale),
    )
    try:
        model = fit(data, run, settings, lambda line: print(line, flush=True))
        bundle = write_bundle(
            run / "bundle",
            model,
            validation(data),
            version=version,
            release=release,
            seed=seed,
            precision=precision,  # type: ignore[arg-type]
            commit=commit,
            metrics={"settings": asdict(settings)},
        )
        bundle = add_metrics(bundle, {"test": measured(bundle, data)})
    except (DataError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{bundle.folder}: {bundle.manifest.name} {bundle.manifest.version}, {bundle.digest}")
