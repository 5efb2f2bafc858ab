"""`smartcar up` and `smartcar run`. What a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.options import Config

app = typer.Typer()


@app.command()
def up(
    source: Annotated[
        str | None,
        typer.Option(
            help="What to look at: camera:, a video file, folder:PATH, a URL, scene:, a configured name."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The page's port; 0 takes a free one.")
    ] = None,
    broker_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="The embedded broker's port; 0 takes a free one.  [default: 1883]"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what is wrong.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that the services log.")] = False,
    config: Config = None,
) -> None:
    """Run everything on this machine: services, page, broker."""
    from services.config_file import load
    from tools.up.supervisor import run

    problems.finish(
        run(load, source=source, port=port, broker_port=broker_port, quiet=quiet, verbose=verbose)
    )


@app.command("run")
def run_service(
    service: Annotated[str, typer.Argument(help="capture, recognizer, pad, updater, overlay or bridge.")],
    config: Config = None,
) -> None:
    """Run one service in the foreground."""
    from services.catalogue import SERVICES

    if service not in SERVICES:
        problems.stop(f"There is no service {service}; there are: {', '.join(SERVICES)}.", exit_code=2)
    from services.__main__ import run

    problems.finish(run(service, None))
