"""`smartcar pad play`: lines of strokes in, digits out, in order and at hundreds a second."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import zmq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from messages.command import Reply
from messages.message import first_problem
from messages.pad import Brush, Points
from messages.pad_commands import MAX_STROKES, PadPlay, PadReading
from messages.rpc.clients import CallbackCommandClient
from services.config import Settings
from tools.pad.client import PadClient, pad_client
from tools.terminal.output import print_json, say
from tools.terminal.problems import Problem

AT_ONCE = 12
"""Lines under way at a time."""
DEADLINE_S = 4.0
TRIES = 3
"""A pad that was killed is back before long, and a line that is played twice is answered the same."""
GIVE_UP_AFTER = 3
"""Lines one after the other that the pad does not answer."""
MAX_LINE_BYTES = 4 << 20
_TICK_MS = 250
_READ_BYTES = 1 << 16
_AUTHOR = "play"


class PlayLine(BaseModel):
    """What a line holds. Anything else in it is passed over."""

    model_config = ConfigDict(extra="ignore")

    id: str | int | float | None = None
    strokes: Annotated[tuple[Points, ...], Field(max_length=MAX_STROKES)]
    brush: Brush | None = None


@dataclass
class _Played:
    """A line on its way: its answer, once it has one."""

    id: Any
    tries: int = 0
    reading: PadReading | None = None
    error: str = ""

    @property
    def is_done(self) -> bool:
        return self.reading is not None or bool(self.error)


class Lines:
    """The lines of a file descriptor, taken as they come."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._buffer = b""
        self._ready: deque[bytes] = deque()
        self._skipping = False

    def read(self) -> None:
        """Take what is there; blocks only where nothing is."""
        chunk = os.read(self.descriptor, _READ_BYTES)
        self.ended = not chunk
        *whole, self._buffer = (self._buffer + chunk).split(b"\n")
        if self.ended and self._buffer:
            whole, self._buffer = [*whole, self._buffer], b""
        for line in whole:
            if self._skipping:
                self._skipping = False
            elif line.strip():
                self._ready.append(line)
        if len(self._buffer) > MAX_LINE_BYTES:
            if not self._skipping:
                self._ready.append(self._buffer)  # to be refused; what follows of it is passed over
            self._buffer, self._skipping = b"", True

    def take(self) -> bytes:
        """The first of the whole lines that wait."""
        return self._ready.popleft()

    @property
    def some_wait(self) -> bool:
        return bool(self._ready)


class Player:
    """Sends lines to the pad, a few at a time, and says the answers in the order of the lines."""

    def __init__(self, client: PadClient, json: bool) -> None:
        self._client = CallbackCommandClient(client.context, client.runtime, "pad")
        self._json = json
        self._under_way: deque[_Played] = deque()
        self._number = self._silent = 0
        self.failed = 0

    def play(self, lines: Lines) -> None:
        """Until the last line is answered. Raises Problem where the pad has gone."""
        poller = zmq.Poller()
        poller.register(self._client.socket, zmq.POLLIN)
        listening = False
        while True:
            self._say()
            while lines.some_wait and len(self._under_way) < AT_ONCE:
                self._send(lines.take())
            if self._under_way and self._under_way[0].is_done:
                continue
            if lines.ended and not self._under_way:
                return
            hungry = not lines.ended and len(self._under_way) < AT_ONCE
            if hungry != listening:
                listening = hungry
                if hungry:
                    poller.register(lines.descriptor, zmq.POLLIN)
                else:
                    poller.unregister(lines.descriptor)
            for readable, _ in poller.poll(_TICK_MS if self._under_way else None):
                if readable == lines.descriptor:
                    lines.read()
                else:
                    self._client.receive()
            self._client.expire()

    def close(self) -> None:
        self._client.close()

    def _send(self, line: bytes) -> None:
        self._number += 1
        played = _Played(self._number)
        self._under_way.append(played)
        try:
            content = PlayLine.model_validate_json(line)
            if "id" in content.model_fields_set:
                played.id = content.id
            command = PadPlay(strokes=content.strokes, brush=content.brush, author=_AUTHOR)
        except ValidationError as error:
            played.id = _id_in(line, played.id)
            played.error = first_problem(error) if len(line) <= MAX_LINE_BYTES else "the line is too long"
            return
        self._ask(played, command)

    def _ask(self, played: _Played, command: PadPlay) -> None:
        played.tries += 1
        self._client.ask(command, lambda reply: self._answered(played, command, reply), DEADLINE_S)

    def _answered(self, played: _Played, command: PadPlay, reply: Reply) -> None:
        if reply.error is not None:
            if reply.error.code == "no-answer" and played.tries < TRIES:
                self._ask(played, command)
                return
            played.error = reply.error.message
            self._silent = self._silent + 1 if reply.error.code == "no-answer" else 0
            return
        self._silent = 0
        try:
            played.reading = PadReading.model_validate(reply.data)
        except ValidationError:
            played.error = "the pad answered something unreadable; is it of another version?"

    def _say(self) -> None:
        while self._under_way and self._under_way[0].is_done:
            played = self._under_way.popleft()
            if played.reading is None:
                self.failed += 1
                self._print_error(played)
            else:
                self._print(played.id, played.reading)
        if self._silent >= GIVE_UP_AFTER:
            raise Problem("The pad does not answer any more; see `smartcar status`.")

    def _print(self, line_id: Any, reading: PadReading) -> None:
        confidences = [round(digit.confidence, 4) for digit in reading.digits]
        if self._json:
            print_json({"id": line_id, "digits": reading.text, "confidence": confidences})
        else:
            say(f"{line_id}  {reading.text}  {' '.join(f'{each:.0%}' for each in confidences)}")

    def _print_error(self, played: _Played) -> None:
        if self._json:
            print_json({"id": played.id, "error": played.error})
        else:
            say(f"{played.id}  {played.error}")


def play(settings: Settings, path: str, *, json: bool) -> int:
    """Play a file, or standard input where `path` is `-`. Returns 1 where some line could not be read."""
    descriptor = sys.stdin.fileno() if path == "-" else _open(Path(path))
    try:
        with pad_client(settings) as client:
            client.wait_until_ready()
            player = Player(client, json)
            try:
                player.play(Lines(descriptor))
            finally:
                player.close()
    finally:
        if path != "-":
            os.close(descriptor)
    if player.failed:
        lines = "1 line" if player.failed == 1 else f"{player.failed} lines"
        say(f"smartcar: {lines} could not be read; the output says why", file=sys.stderr)
    return 1 if player.failed else 0


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        if os.path.isdir(path):
            os.close(descriptor)
            raise Problem(f"{path} is a folder; play one file, or - for standard input.")
        return descriptor
    except OSError as error:
        raise Problem(
            f"{path} can't be read ({error.strerror}); name a file of drawings, or - for standard input."
        ) from None


def _id_in(line: bytes, number: int) -> Any:
    """The id of a line that can't be used otherwise; its number where there is none."""
    try:
        content = json_module.loads(line)
    except (ValueError, RecursionError):
        return number
    found = content.get("id", number) if isinstance(content, dict) else number
    return found if isinstance(found, str | int | float | None) else number
