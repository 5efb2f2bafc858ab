"""Whatever strangers write, a terminal shows it and is not steered by it."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.conftest import REPOSITORY
from tools.terminal import output
from tools.terminal.output import console, print_document, print_json, print_table, say
from tools.terminal.problems import Problem, guarded, stop, warn
from tools.up.console_log import ConsoleLog

HOSTILE = "a\x1b]0;owned\x07b\x1b[2Jc\rd\x9be\u202ef\u2028g\udce4h\x00i"
"""Escape sequences of both kinds, a carriage return, a turned direction, a lone surrogate."""
STEERING = {each for each in HOSTILE if not each.isprintable()}
PRINTING = Path(output.__file__)
CHILDREN = ("tools/bench/carriers/program.py", "tools/bench/peers/digits.py")
"""Programs that a benchmark starts: what they print is read by it alone."""


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed; the terminal is not steered by it."""
    told = capsys.readouterr()
    text = told.out + told.err
    assert not STEERING & set(text), repr(text)
    assert "owned" in text
    return text


def _says(text: str) -> None:
    say(text)


def _prints_json(text: str) -> None:
    print_json({"name": text, text: [text]})


def _prints_table(text: str) -> None:
    print_table(("name",), [[text], [text]])


def _warns(text: str) -> None:
    warn(text)


def _ends(text: str) -> None:
    with pytest.raises(SystemExit):
        stop(text)


def _has_a_problem(text: str) -> None:
    def command() -> None:
        raise Problem(text)

    assert guarded(command) == 1


def _shows_a_rich_table(text: str) -> None:
    made = Table("name", title="rich")
    made.add_row(text)
    console().print(made)


def _shows_it_live(text: str) -> None:
    with Live(Text("begins"), console=console(), auto_refresh=False) as live:
        live.update(Text(text), refresh=True)


def _is_a_line_of_up(text: str) -> None:
    lines = ConsoleLog(quiet=False, verbose=True)
    lines.say(text)
    lines.state("capture", "degraded", text)
    lines.log("capture", text)
    lines.log("capture", f"10:11:12 capture: WARNING {text}")


WAYS: list[Callable[[str], None]] = [
    _says, print_document, _prints_json, _prints_table, _warns, _ends, _has_a_problem, _shows_a_rich_table,
    _shows_it_live, _is_a_line_of_up,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_terminal_is_not_steered(way: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    way(HOSTILE)
    shown(capsys)


def test_json_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": HOSTILE, "grün": "好"})
    line = shown(capsys)
    assert json.loads(line) == {"name": HOSTILE, "grün": "好"}
    assert line.count("\n") == 1
    assert "grün" in line


def test_a_strangers_line_end_begins_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    say("car7: \nsmartcar: all is well")
    assert capsys.readouterr().out == "car7:  smartcar: all is well\n"


AROUND = {"print", "sys.stdout.write", "sys.stderr.write", "typer.echo", "typer.secho", "click.echo"}
AROUND |= {"Console", "rich.print", "RichConsole", "logging.StreamHandler"}


def _name(called: ast.expr) -> str:
    if isinstance(called, ast.Attribute):
        return f"{_name(called.value)}.{called.attr}"
    return called.id if isinstance(called, ast.Name) else ""


def _prints_around(source: str) -> list[int]:
    """ConsoleLog that print without `tools/terminal/output.py`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _name(call.func) in AROUND]


def test_nothing_in_tools_prints_around_the_one_place() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in sorted((REPOSITORY / "tools").rglob("*.py"))
        if path != PRINTING and path.relative_to(REPOSITORY).as_posix() not in CHILDREN
        for line in _prints_around(path.read_text(encoding="utf-8"))
    ]
    assert not found, "print through tools/terminal/output.py"


@pytest.mark.parametrize("source", ["print(1)", "import sys\nsys.stdout.write('x')", "Console().print(1)"])
def test_printing_around_is_found(source: str) -> None:
    assert _prints_around(source)


def test_complaints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What a program reads stays clean."""
    warn("something")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "smartcar: something\n")
