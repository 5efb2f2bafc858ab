"""What commands print: JSON, one object a line, for programs; lines and tables for people.

Every command prints through this module, since what it prints may hold text of strangers:

    say(f"{car}: {sentence}")
    print_json({"car": car, "sentence": sentence})
    print_table(("car", "state"), rows)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from messages.text import printable

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table

    from messages.message import Message

_LONGEST_TEXT = 60
_LONGEST_LINE = 1 << 20


def say(line: str = "", *, file: TextIO | None = None) -> None:
    """Print one line for people to standard output, or to `file`, at once.

    The line may hold text of strangers: what would steer the terminal is replaced, line ends become spaces.
    """
    print(printable(line, _LONGEST_LINE), file=file, flush=True)


def print_document(text: str) -> None:
    """Print a text of several lines: TOML, Markdown, JSON."""
    for line in text.removesuffix("\n").split("\n"):
        say(line)


def print_json(content: dict[str, Any], file: TextIO | None = None) -> None:
    """Print one object on one line of standard output, or of `file`, at once; nothing is lost.

    What would steer a terminal, or is no UTF-8 in a file's name, is written as JSON's escapes.
    """
    line = json.dumps(content, ensure_ascii=False, separators=(", ", ": "))
    if not line.isprintable():
        line = "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)
    print(line, file=file, flush=True)


def silence_libraries() -> None:
    """From here on only Python writes to standard error: what decoders and runtimes chat there is dropped."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def as_dict(message: BaseModel, **more: Any) -> dict[str, Any]:
    """The message as what `print_json` takes, with `more` before it."""
    return {**more, **message.model_dump(mode="json")}


def summary(message: Message) -> str:
    """A message on one line, without its envelope and with long texts cut."""
    from messages.message import Message

    content = {key: value for key, value in as_dict(message).items() if key not in Message.model_fields}
    return " ".join(f"{key}={_short(value)}" for key, value in content.items() if value not in ("", {}, []))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = value if isinstance(value, str) else json.dumps(_cut(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST_TEXT or not isinstance(value, str) else f"({len(text)} characters)"


def _cut(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value


def console() -> Console:
    """The terminal for tables and colours; 200 columns wide, without colours, where nobody looks.

    Text of strangers in what it prints can't steer the terminal.
    """
    from rich.console import Console as RichConsole
    from rich.segment import Segment

    class SafeConsole(RichConsole):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                if segment.control or segment.text.isprintable():
                    yield segment
                else:
                    lines = (printable(line, _LONGEST_LINE) for line in segment.text.split("\n"))
                    yield Segment("\n".join(lines), segment.style)

    return SafeConsole(width=None if sys.stdout.isatty() else 200, highlight=False, emoji=False)


def table(
    headings: Iterable[str], rows: Iterable[Iterable[str]], styles: dict[str, str] | None = None
) -> Table:
    """A table for `console`; without borders where nobody looks. `styles`: a colour by what a cell says."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        *headings, box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold"
    )
    for row in rows:
        cells = (printable(cell, _LONGEST_LINE) for cell in row)
        made.add_row(*(Text(cell, (styles or {}).get(cell, ""), overflow="fold") for cell in cells))
    return made


def print_table(
    headings: Iterable[str], rows: Iterable[Iterable[str]], styles: dict[str, str] | None = None
) -> None:
    """Print it at once."""
    console().print(table(headings, rows, styles))
