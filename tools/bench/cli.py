"""`smartcar bench …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.bench.yardstick import MODEL, ROUND_TRIP

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    peers: Annotated[
        bool, typer.Option("--peers", help="Measure beside others, and write docs/benchmarks.md.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="With --peers: where the test sets are.")
    ] = None,
) -> None:
    """Measure on this machine: a table, or JSON."""
    if peers and context.invoked_subcommand is None:
        from tools.bench.peers.comparison import compare
        from tools.terminal.output import say

        say(f"written: {compare(data)}")
    elif context.invoked_subcommand is None:
        raise typer.BadParameter("say what is to be measured, or --peers")


@app.command()
def boot(
    rounds: Annotated[int, typer.Option(help="How many starts.", min=1)] = 3,
    installed: Annotated[
        bool, typer.Option("--installed", help="The systemd services of this machine: stops and kills them.")
    ] = False,
    json: Json = False,
) -> None:
    """A start: to the first reading, to the first event at the broker; memory; back after SIGKILL."""
    from tools.bench.boot import measure
    from tools.bench.report import show

    show("boot", lambda: measure(rounds, installed=installed), json, MODEL)


@app.command()
def bus(
    frames: Annotated[int, typer.Option(help="How many frames.")] = 600,
    readers: Annotated[int, typer.Option(help="How many reading processes.")] = 2,
    hertz: Annotated[float, typer.Option(help="Frames a second.")] = 30.0,
    json: Json = False,
) -> None:
    """A frame from one process to others: latency and processor time."""
    from tools.bench.bus import measure
    from tools.bench.report import show

    show("bus", lambda: measure(frames, readers, hertz), json, ROUND_TRIP)


@app.command()
def fleet(
    cars: Annotated[str, typer.Option(help="How many cars, fleet after fleet.")] = "10,50,200",
    megabytes: Annotated[float, typer.Option(help="How large the bundle is.", min=0.0, max=30.0)] = 1.0,
    light: Annotated[bool, typer.Option("--light", help="Cars that have nothing but their MQTT.")] = False,
    port: Annotated[int, typer.Option(help="Of a broker that runs here, in place of a Mosquitto.")] = 0,
    pids: Annotated[str, typer.Option(help="Its processes, whose memory is measured: 12,34.")] = "",
    json: Json = False,
) -> None:
    """A model published to simulated cars on one Mosquitto: time, memory, traffic."""
    from tools.bench.fleet import measure, sizes_of
    from tools.bench.mosquitto import RunningBroker
    from tools.bench.report import show

    broker = RunningBroker(port, tuple(map(int, filter(None, pids.split(","))))) if port else None
    show("fleet", lambda: measure(sizes_of(cars), megabytes, light=light, broker=broker), json, ROUND_TRIP)


@app.command()
def frames(
    against: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Another checkout of smartcar, read in turn.")
    ] = None,
    json: Json = False,
) -> None:
    """The whole reading of a 640×480 frame without, with five and with twenty digits."""
    from tools.bench.frames import measure
    from tools.bench.report import show

    show("frames", lambda: measure(against), json, MODEL)


@app.command()
def guard(json: Json = False) -> None:
    """Ratios that hold on any machine; fails where one is beyond its goal."""
    from tools.bench.guard import measure
    from tools.bench.report import show

    measured = measure()
    show("guard", lambda: measured, json, ROUND_TRIP)
    if any(figure.reached is False for figure in measured):
        raise typer.Exit(1)


@app.command()
def pad(
    codes: Annotated[int, typer.Option(help="How many codes are drawn.", min=1, max=5)] = 5,
    watchers: Annotated[int, typer.Option(help="How many clients watch.", min=1)] = 50,
    lines: Annotated[int, typer.Option(help="How many lines are played.", min=1)] = 2000,
    json: Json = False,
) -> None:
    """The drawing pad of a running car: strokes to others and to a result, `pad play`, many who watch."""
    from tools.bench.pad import measure
    from tools.bench.report import show

    show("pad", lambda: measure(codes, watchers, lines), json, ROUND_TRIP)


@app.command()
def nothing(
    frames: Annotated[int, typer.Option(help="How many frames.", min=1)] = 18_000,
    seed: Annotated[int, typer.Option(help="Other pictures; thresholds are tuned on others than 0.")] = 0,
    json: Json = False,
) -> None:
    """Views with nothing to read in them: how many codes the camera path invents."""
    from tools.bench.nothing import measure
    from tools.bench.report import show

    show("nothing to read", lambda: measure(frames, seed), json, MODEL)


@app.command()
def pipeline(
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = 30.0,
    hertz: Annotated[float, typer.Option(help="Frames a second.")] = 30.0,
    json: Json = False,
) -> None:
    """The running car: capture to reading, capture to MQTT, memory, processor."""
    from tools.bench.pipeline import measure
    from tools.bench.report import show

    show("pipeline", lambda: measure(seconds, hertz), json, MODEL)


@app.command()
def swap(
    swaps: Annotated[int, typer.Option(help="How often to and fro.", min=10)] = 200,
    hertz: Annotated[float, typer.Option(help="Frames a second.")] = 30.0,
    keras: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A Keras file.  [default: the course's, of the tests]")
    ] = None,
    json: Json = False,
) -> None:
    """Other models in the running car: command to first reading, gap, memory, rollback."""
    from tools.bench.report import show
    from tools.bench.swap import measure

    show("swap", lambda: measure(swaps, hertz, keras), json, MODEL)


@app.command()
def vision(
    rooms: Annotated[int, typer.Option(help="How many rooms.", min=1)] = 12,
    episodes: Annotated[int, typer.Option(help="How many sets of cards in each.", min=1)] = 4,
    json: Json = False,
) -> None:
    """The camera path on the drawn scene: codes read, false events, times."""
    from tools.bench.report import show
    from tools.bench.vision import measure

    show("vision", lambda: measure(rooms, episodes), json, MODEL)
