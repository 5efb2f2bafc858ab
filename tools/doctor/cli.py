"""`smartcar doctor`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.options import Config, Json

app = typer.Typer()


@app.command()
def doctor(
    checks: Annotated[
        list[str] | None, typer.Argument(metavar="[CHECK]...", help="All, where none is named.")
    ] = None,
    json: Json = False,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tar.gz", help="Collect there what a bug report needs, without secrets."),
    ] = None,
    config: Config = None,
) -> None:
    """Say what is wrong with the car and this machine, and what to do."""
    from tools.doctor.examination import show

    problems.finish(show(checks or [], json=json, bundle=bundle))
