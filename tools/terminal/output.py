"""What commands print: JSON, one object a line, for programs; lines and tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import BaseModel

from messages.message import Message

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ENVELOPE = frozenset(Message.model_fields)
_LONGEST_TEXT = 60


def print_json(content: dict[str, Any], file: TextIO | None = None) -> None:
    """One object on one line of standard output, or of `file`, at once.

    Names of files that are no UTF-8 are written with escapes, as Python reads them.
    """
    line = json.dumps(content, ensure_ascii=False, separators=(", ", ": "))
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(content, separators=(", ", ": "))
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
    content = {key: value for key, value in as_dict(message).items() if key not in _ENVELOPE}
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
    """The terminal; 200 columns wide, without colours, where nobody looks."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, emoji=False)


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
        made.add_row(*(Text(cell, (styles or {}).get(cell, ""), overflow="fold") for cell in row))
    return made


def print_table(
    headings: Iterable[str], rows: Iterable[Iterable[str]], styles: dict[str, str] | None = None
) -> None:
    """Print it at once."""
    console().print(table(headings, rows, styles))
