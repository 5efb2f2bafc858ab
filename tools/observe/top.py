"""`smartcar top`: the car at a glance, live, until `q`."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from services.config import Settings
from tools.observe.services_table import lines, services_table
from tools.observe.snapshot import ASK_S, CarSnapshot, SnapshotListener
from tools.terminal.output import console, print_json

REFRESH_S = 0.5
REPORT_S = 1.0
_ENDS = frozenset(b"q\x1b\x03\x04")
"""q, Escape, Ctrl-C, Ctrl-D."""


def show(settings: Settings, *, once: bool, json: bool) -> int:
    """Show it until a key or Ctrl-C ends it; with `json` one object a second.

    Once only where nobody looks. Returns 0: `smartcar status` is for judging.
    """
    with SnapshotListener(settings) as listener:
        try:
            _hear(listener, ASK_S)
            if json:
                _report(listener, once=once)
            elif once or not sys.stdout.isatty():
                terminal = console()
                terminal.print(_picture(listener.snapshot(), terminal.width))
            else:
                _live(listener)
        except KeyboardInterrupt:
            pass  # how one ends it
    return 0


def _hear(listener: SnapshotListener, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not listener.complete and (left_s := deadline - time.monotonic()) > 0:
        listener.listen(left_s)


def _report(listener: SnapshotListener, *, once: bool) -> None:
    while True:
        print_json({"wall_time": datetime.now().astimezone().isoformat(), **listener.snapshot().as_dict()})
        if once:
            return
        due = time.monotonic() + REPORT_S
        while (left_s := due - time.monotonic()) > 0:
            listener.listen(left_s)


def _live(listener: SnapshotListener) -> None:
    with _keys() as keyboard, Live(console=console(), screen=True, auto_refresh=False) as live:
        due = 0.0
        while not _ended(keyboard):
            if time.monotonic() >= due:
                due = time.monotonic() + REFRESH_S
                live.update(_picture(listener.snapshot(), live.console.width, live=True), refresh=True)
            listener.listen(due - time.monotonic(), keyboard)


def _picture(snapshot: CarSnapshot, width: int, *, live: bool = False) -> Group:
    parts: list[RenderableType] = [
        services_table(snapshot.services, width),
        *(Text(line) for line in lines(snapshot)),
    ]
    if live:
        head = Text.assemble((snapshot.car, "bold"), f"  {datetime.now():%H:%M:%S}  ", ("q ends", "dim"))
        parts = [head, Text(), *parts]
    return Group(*parts)


@contextmanager
def _keys() -> Iterator[int | None]:
    """The keyboard, key by key; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _ended(keyboard: int | None) -> bool:
    if keyboard is None or not select.select([keyboard], [], [], 0)[0]:
        return False
    pressed = os.read(keyboard, 64)
    return not pressed or not _ENDS.isdisjoint(pressed)
