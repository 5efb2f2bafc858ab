"""`smartcar fleet …`. What a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tools import problems
from tools.broker_options import Ways, with_broker
from tools.options import Json


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
    ways: Ways,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    listen: Annotated[
        float, typer.Option(min=0.5, metavar="SECONDS", help="So long at most, until all were heard.")
    ] = 12.0,
    json: Json = False,
) -> None:
    """The cars on a broker: state, model, offers, version, when they were last heard."""
    from tools.fleet import listing

    problems.finish(
        listing.watch(ways, json=json) if watch else listing.show(ways, listen_s=listen, json=json)
    )
