"""`smartcar pad …`. What a command needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.options import Config, Json, settings

app = typer.Typer(help="The drawing pad: draw, read, play, look.", no_args_is_help=True)


@app.command()
def window(config: Config = None) -> None:
    """Open a window to draw in, on a machine with a screen."""
    from tools.pad.window import show

    problems.finish(show(settings()))


@app.command()
def play(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="Lines; - for standard input.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Erase, draw, read: once a line, in order.

    A line in: {"id", "strokes": [[[x, y], …], …]} in canvas pixels. A line out: {"id", "digits",
    "confidence"}, or {"id", "error"} and then the exit code is 1.
    """
    from tools.pad.play import play as play_lines

    problems.finish(play_lines(settings(), file, json=json))


@app.command()
def write(
    digits: Annotated[str, typer.Argument(help="From the first box on; - passes over a box.")],
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same strokes.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Write digits with a natural hand, and read them."""
    from tools.pad import by_hand

    problems.finish(by_hand.write(settings(), digits, seed, json=json))


@app.command()
def erase(
    box: Annotated[
        int | None, typer.Argument(min=1, max=5, help="1 is the leftmost; without one: everything.")
    ] = None,
    config: Config = None,
) -> None:
    """Erase everything, or one box."""
    from tools.pad import by_hand

    problems.finish(by_hand.erase(settings(), box))


@app.command()
def undo(config: Config = None) -> None:
    """Take back the last thing done."""
    from tools.pad import by_hand

    problems.finish(by_hand.undo(settings()))


@app.command()
def recognize(json: Json = False, config: Config = None) -> None:
    """Read the five boxes."""
    from tools.pad import by_hand

    problems.finish(by_hand.recognize(settings(), json=json))


@app.command()
def show(json: Json = False, config: Config = None) -> None:
    """Show what the model sees in each box, and the ten probabilities."""
    from tools.pad import crops

    problems.finish(crops.show(settings(), json=json))


@app.command()
def save(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.jsonl]", help="Goes to the end of this file.")
    ] = None,
    line_id: Annotated[str | None, typer.Option("--id", help="The line's id.  [default: the time]")] = None,
    config: Config = None,
) -> None:
    """Print what was drawn as a line for `play`, or put it into a file."""
    from tools.pad import by_hand

    problems.finish(by_hand.save(settings(), file, line_id))


@app.command()
def brush(
    radius: Annotated[int, typer.Argument(min=1, max=12, help="In pixels.")], config: Config = None
) -> None:
    """Set the brush for all hands."""
    from tools.pad import by_hand

    problems.finish(by_hand.brush(settings(), radius))


@app.command()
def automatic(state: Annotated[str, typer.Argument(help="on or off.")], config: Config = None) -> None:
    """Read while somebody draws: on or off."""
    from tools.pad import by_hand

    if state not in ("on", "off"):
        problems.stop(f"Automatic is on or off, not {state}.", exit_code=2)
    problems.finish(by_hand.automatic(settings(), on=state == "on"))


@app.command()
def selftest(json: Json = False, config: Config = None) -> None:
    """Check the whole chain: write, watch, read, undo."""
    from tools.pad.selftest import selftest as check

    problems.finish(check(settings(), json=json))
