"""The `smartcar` command. What a command needs is imported when it runs: the command line is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tools.bench.cli import app as bench
from tools.commands.cli import app as commands
from tools.doctor.cli import app as doctor
from tools.evaluate.cli import app as evaluate
from tools.fleet.cli import app as fleet
from tools.install.cli import app as install
from tools.model.cli import app as model
from tools.model.cli import keys_app as keys
from tools.observe.cli import app as observe
from tools.pad.cli import app as pad
from tools.terminal import problems
from tools.terminal.options import Config
from tools.terminal.output import say
from tools.train.cli import app as train
from tools.up.cli import app as up

app = typer.Typer(
    name="smartcar",
    help="The car: it sees, reads handwritten digits and reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the help comes in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(up)  # up, run
app.add_typer(observe)  # status, top, watch, topics, events, view
app.add_typer(commands)  # read, send, config, mqtt
app.add_typer(doctor)
app.add_typer(evaluate)
app.add_typer(install)
for name, group in {
    "pad": pad,
    "model": model,
    "keys": keys,
    "fleet": fleet,
    "bench": bench,
    "train": train,
}.items():
    app.add_typer(group, name=name)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            say(f"smartcar {version('smartcar')}")
        except PackageNotFoundError:
            say("smartcar (not installed: run make setup)")
        raise typer.Exit


@app.callback()
def _smartcar(
    config: Config = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: what goes wrong is one sentence on standard error and an exit code that isn't 0."""
    sys.exit(problems.guarded(app))


if __name__ == "__main__":
    main()
