"""The commands that look at a running car. What a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.options import Config, Json, settings
from tools.terminal.output import print_document

app = typer.Typer()


@app.command()
def status(json: Json = False, config: Config = None) -> None:
    """Ask every service how it is."""
    from tools.observe.status import show

    problems.finish(show(settings(), json=json))


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a second.")] = False,
    config: Config = None,
) -> None:
    """Show the services live: state, rates, latency, memory, model, broker."""
    from tools.observe.top import show

    problems.finish(show(settings(), once=once, json=json))


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
    from tools.observe.watch import show

    problems.finish(show(settings(), topics or [], json=json, count=count))


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
    from tools.observe.events import show

    problems.finish(show(settings(), follow=follow, limit=limit, json=json))


@app.command()
def view(config: Config = None) -> None:
    """Open a window on what the car sees and reads."""
    from tools.observe.view import show

    problems.finish(show(settings()))
