"""What `smartcar up` says: a line an event or a change of state, plain where nobody looks."""

from __future__ import annotations

import re
from datetime import datetime

from rich.text import Text

from messages.vision import ReadingEvent
from tools.terminal.output import console

STYLES = {
    "ready": "green", "off": "dim", "starting": "dim", "stopped": "dim",
    "degraded": "yellow", "failed": "bold red",
}  # fmt: skip
_LOG_LINE = re.compile(
    r"(?:\d\d:\d\d:\d\d )?[\w.]+: (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<text>.*)"
)
_STATE = re.compile(r"(starting|ready|degraded|failed|off|stopped|crashed)(: |$)")


class ConsoleLog:
    """Prints to standard output; falls silent when that is gone, since the car goes on."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._console = console()
        self._gone = False

    def say(self, text: str, style: str = "") -> None:
        """A line for whoever started the car."""
        self._print(Text(text, style))

    def state(self, service: str, state: str, reason: str, *, when: datetime | None = None) -> None:
        if self._quiet and state not in ("degraded", "failed"):
            return
        line = self._begin(when, service)
        line.append(state, STYLES.get(state, ""))
        if reason:
            line.append(f": {reason}")
        self._print(line)

    def event(self, event: ReadingEvent) -> None:
        """A code came, was corrected or left."""
        if self._quiet:
            return
        line = self._begin(event.wall_time, "reading")
        line.append(event.text, "bold" if event.phase != "end" else "dim")
        line.append(f"  {event.phase}, {event.confidence:.0%} sure, {event.latency_ms:.0f} ms old")
        self._print(line)

    def log(self, service: str, line: str) -> None:
        """A line that a service wrote. Only warnings, unless all is wanted; states come by heartbeat."""
        found = _LOG_LINE.fullmatch(line)
        if self._verbose:
            self._print(Text(line if found else f"{service}: {line}", "" if found else "dim"))
        elif found and found["level"] not in ("DEBUG", "INFO") and not _STATE.match(found["text"]):
            self._print(Text(line))

    def _begin(self, when: datetime | None, who: str) -> Text:
        moment = (when or datetime.now()).astimezone()
        return Text(f"{moment:%H:%M:%S}  {who:<12}")

    def _print(self, text: Text) -> None:
        if self._gone:
            return
        try:
            self._console.print(text, soft_wrap=True)
        except OSError:  # the terminal or the pipe is gone
            self._gone = True


def without_stamp(line: str) -> str:
    """What a log line says, without time, service and level."""
    found = _LOG_LINE.fullmatch(line)
    return found["text"] if found else line.strip()
