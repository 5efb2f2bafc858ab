"""`smartcar read`, `send`, `config …` and `mqtt …`. What a command needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.options import Config, Json, settings

app = typer.Typer()
config_app = typer.Typer(help="The settings: check, show, explain.", no_args_is_help=True)
app.add_typer(config_app, name="config")
mqtt_app = typer.Typer(help="The car on its broker.", no_args_is_help=True)
app.add_typer(mqtt_app, name="mqtt")


@app.command()
def read(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, or folders of them.")],
    json: Json = False,
    model: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Read with this model.")] = None,
    config: Config = None,
) -> None:
    """Read image files, without the running car."""
    from tools.commands.read import show

    problems.finish(show(settings(), paths, model, json=json))


@app.command()
def send(
    verb: Annotated[str, typer.Argument(help="Such as capture.pause; without one they are listed.")] = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Its arguments, or one JSON object.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the picture of the reply there."),
    ] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the reply.")] = 5.0,
    json: Json = False,
    config: Config = None,
) -> None:
    """Send a command to a service."""
    from tools.commands.send import send_command

    problems.finish(
        send_command(settings(), verb, arguments or [], output=output, deadline_s=deadline, json=json)
    )


@config_app.command("check")
def config_check(config: Config = None) -> None:
    """Say whether the configuration can be used."""
    from tools.commands.config import check

    problems.finish(check())


@config_app.command("show")
def config_show(json: Json = False, config: Config = None) -> None:
    """Print the settings in force, each with its explanation."""
    from tools.commands.config import show

    problems.finish(show(json=json))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration."""
    from tools.commands.config import schema

    schema()


@mqtt_app.command()
def forget(
    car: Annotated[str, typer.Option(metavar="NAME", help="Another car.  [default: this one]")] = "",
    force: Annotated[bool, typer.Option("--force", help="Although it seems to run.")] = False,
    config: Config = None,
) -> None:
    """Take a stopped car off the broker: its retained topics go, and Home Assistant forgets it."""
    from tools.commands.forget import forget

    problems.finish(forget(settings(), car, force=force))
