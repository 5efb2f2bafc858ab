"""`smartcar fleet …`. What a command needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tools.terminal import problems
from tools.terminal.broker_options import FindWays, with_broker
from tools.terminal.options import Json


class _ListByDefault(TyperGroup):
    """`smartcar fleet` alone is `smartcar fleet list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListByDefault, help="All cars on a broker: list them, roll a model out.", no_args_is_help=False
)


@app.command("list")
@with_broker
def list_cars(
    ways: FindWays,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    listen: Annotated[
        float, typer.Option(min=0.5, metavar="SECONDS", help="So long at most, until all were heard.")
    ] = 12.0,
    json: Json = False,
) -> None:
    """The cars on a broker: state, model, offers, version, when they were last heard."""
    from tools.fleet import listing

    problems.finish(
        listing.watch(ways(), json=json) if watch else listing.show(ways(), listen_s=listen, json=json)
    )


@app.command()
@with_broker
def rollout(
    subject: Annotated[
        str, typer.Argument(metavar="BUNDLE|NAME", help="A bundle, or the name of an offer that stands.")
    ],
    ways: FindWays,
    waves: Annotated[
        str, typer.Option(help="How many cars in all are to have it, wave after wave: 1,5,all or 1,10%,all.")
    ] = "1,5,all",
    key: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign it with this key.")] = None,
    settle: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="A car must be well with it for so long.")
    ] = 30.0,
    patience: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="A car that is on takes it within this time.")
    ] = 300.0,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="One that isn't well may recover so long.")
    ] = 12.0,
    max_failures: Annotated[int, typer.Option(min=0, help="So many cars may fail before it stops.")] = 0,
    rollback: Annotated[
        bool, typer.Option("--rollback/--stop", help="After a failure: all back, or leave it at that.")
    ] = False,
    cars: Annotated[
        str, typer.Option(metavar="CAR,…", help="Only these cars, the first of them first.")
    ] = "",
    group: Annotated[str, typer.Option(metavar="GROUP", help="Only cars of this group.")] = "",
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the payload lies as a file, too.")
    ] = None,
    payload: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write that file, to be put there.")
    ] = None,
    json: Json = False,
) -> None:
    """Have cars take a model, a few first; go on only while these stay well.

    Interrupted, it goes on with the same command: the offer on the broker says how far it was.
    """
    from tools.fleet.health import RolloutTerms
    from tools.fleet.rollout import RolloutOptions, roll_out

    options = RolloutOptions(
        waves=waves,
        terms=RolloutTerms(settle_s=settle, patience_s=patience, grace_s=grace),
        max_failures=max_failures,
        roll_back=rollback,
        cars=tuple(filter(None, (each.strip() for each in cars.split(",")))),
        group=group,
        key=key,
        url=url,
        payload=payload,
    )
    problems.finish(roll_out(subject, ways(), options, json=json))
