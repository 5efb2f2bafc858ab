"""docs/mqtt.md: the prose of `mqtt.md` beside this module, with tables and examples put in.

A line `{{ said }}` or the like is replaced by what its function here makes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from messages.command import Command
from messages.errors import COMMAND_CODES
from tools.interface.channels import Said, said, shared, taken
from tools.interface.examples import examples, shortened
from tools.terminal.problems import Problem

PROSE = Path(__file__).with_name("mqtt.md")
WIDTH = 118
_LINE = re.compile(r"^\{\{ (\w+)(?: ([^ ]+))? \}\}$", re.MULTILINE)


def page() -> str:
    """The whole page. Raises Problem for an example that was never recorded."""
    makers: dict[str, Callable[[str], str]] = {
        "said": lambda _: _topics(said()),
        "shared": lambda _: _topics(shared()),
        "example": _example,
        "commands": lambda _: _commands(),
        "asked": lambda _: _asked(),
        "codes": lambda _: _codes(),
        "refused": lambda _: _json(examples().refused.reply),
    }
    text = PROSE.read_text(encoding="utf-8")
    return _LINE.sub(lambda found: makers[found[1]](found[2] or ""), text)


def shown() -> set[str]:
    """The topics of which the page has an example."""
    return {found[2] for found in _LINE.finditer(PROSE.read_text(encoding="utf-8")) if found[1] == "example"}


def _topics(rows: list[Said]) -> str:
    lines = ["| topic | QoS | retained | |", "| --- | --- | --- | --- |"]
    for row in rows:
        what = f"{row.about}; {row.when}" if row.when else row.about
        lines.append(f"| `{row.topic}` | {row.qos} | {'yes' if row.retain else 'no'} | {what} |")
    return "\n".join(lines)


def _example(topic: str) -> str:
    if topic not in examples().said:
        raise Problem(
            f"There is no example of {topic} yet: `python -m tests.tools.interface.record_examples`."
        )
    return _json(examples().said[topic])


def _commands() -> str:
    lines = ["| command | fields | |", "| --- | --- | --- |"]
    for row in taken():
        fields = [name for name in row.command.model_fields if name not in Command.model_fields]
        star = "" if row.by_default else " *"
        lines.append(
            f"| `{row.verb}`{star} | {', '.join(f'`{name}`' for name in fields)} | {row.command.about} |"
        )
    return "\n".join(lines)


def _codes() -> str:
    """Why a command is refused; of models, docs/models.md tells more."""
    lines = ["| code | what it means, what to do |", "| --- | --- |"]
    return "\n".join(lines + [f"| `{code}` | {code.meaning} |" for code in COMMAND_CODES])


def _asked() -> str:
    """A line to copy for each command, and the data of the answer that came; what is long stands below."""
    lines, longer = [], []
    for row in taken():
        asked = examples().asked.get(row.verb)
        if asked is None:
            continue
        payload = json.dumps(shortened(asked.command, digests=True), ensure_ascii=False)
        lines.append(f"mosquitto_pub -t smartcar/mycar/{row.topic} -q 1 -m {shlex.quote(payload)}")
        data = json.dumps(shortened(asked.reply["data"], digests=True), ensure_ascii=False)
        if len(data) > WIDTH:
            longer.append(f"`{row.verb}`:\n\n{_json(asked.reply['data'])}")
        elif data != "{}":
            lines.append(f"# {data}")
    return "\n\n".join(["```sh\n" + "\n".join(lines) + "\n```", *longer])


def _json(value: Any) -> str:
    return f"```json\n{_laid_out(shortened(value, items=3, digests=True), 0)}\n```"


def _laid_out(value: Any, column: int) -> str:
    """JSON that begins at `column`, in filled lines of at most WIDTH; what fits stays on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if column + len(flat) <= WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    pairs = list(value.items() if isinstance(value, dict) else ((None, each) for each in value))
    lines, line = [], " " * column + opening
    for number, (key, each) in enumerate(pairs):
        prefix = f"{json.dumps(key, ensure_ascii=False)}: " if key is not None else ""
        end = closing if number == len(pairs) - 1 else ","
        short = prefix + json.dumps(each, ensure_ascii=False) + end
        if number and len(line) + 1 + len(short) > WIDTH:
            lines.append(line)
            line = " " * column
        line += " " * bool(number)
        line += (
            short
            if len(line) + len(short) <= WIDTH
            else prefix + _laid_out(each, len(line) + len(prefix)) + end
        )
        *whole, line = line.split("\n")
        lines += whole
    return "\n".join([*lines, line])[column:]
