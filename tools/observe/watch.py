"""`smartcar watch`: the messages on the bus as they come."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.catalogue import TOPICS
from services.config import Settings
from tools.observe.listening import listen
from tools.terminal.output import as_dict, print_json, say, summary
from tools.terminal.problems import Problem


def show(settings: Settings, names: Sequence[str], *, json: bool, count: int = 0) -> int:
    """Print what comes on the topics `names`, all where there are none, until Ctrl-C or `count` messages.

    As JSON a line is the message with `topic` before it. Raises Problem for an unknown topic.
    """
    unknown = next((name for name in names if name not in TOPICS), None)
    if unknown is not None:
        raise Problem(f"There is no topic {unknown!r}.", f"There are: {', '.join(TOPICS)}.")
    seen = 0
    try:
        for row, message in listen(settings, names or TOPICS, hint=True):
            if json:
                print_json(as_dict(message, topic=row.name))
            else:
                moment = message.wall_time.astimezone()
                say(f"{moment:%H:%M:%S.%f} {row.name} {message.source} {summary(message)}"[: _width()])
            seen += 1
            if count and seen >= count:
                break
    except KeyboardInterrupt:
        pass  # how one ends it
    return 0


def _width() -> int | None:
    """As wide as the terminal; all of it where nobody looks."""
    if not sys.stdout.isatty():
        return None
    from shutil import get_terminal_size

    return get_terminal_size().columns
