"""`smartcar install`. What it needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tools.terminal import problems

app = typer.Typer()


@app.command()
def install(
    broker: Annotated[
        bool | None,
        typer.Option("--broker/--no-broker", help="An MQTT broker on this machine.  [default: as it is]"),
    ] = None,
    page: Annotated[
        bool | None,
        typer.Option("--page/--no-page", help="Open the page to the network.  [default: as it is]"),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the version before.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it all; asks before data goes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --remove: data goes, too.")] = False,
    fall_back: Annotated[bool, typer.Option("--fall-back/--no-fall-back", hidden=True)] = True,
) -> None:
    """Run the car as systemd services; again after a change of the settings. A new version: ./install.sh."""
    from tools.install import installation

    if rollback:
        problems.finish(installation.roll_back())
    elif remove:
        problems.finish(installation.remove(yes=yes))
    else:
        problems.finish(installation.install(with_broker=broker, with_page=page, may_fall_back=fall_back))
