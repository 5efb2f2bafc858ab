"""`smartcar doctor`: every check in turn, a line each, the remedy below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from tools.doctor.context import CheckContext
from tools.doctor.finding import Check, Finding
from tools.doctor.isolation import run
from tools.doctor.table import CHECKS
from tools.terminal.output import console, print_json, say
from tools.terminal.problems import Problem

_MARKS = {"ok": ("OK", "green"), "warning": ("warning", "yellow"), "error": ("ERROR", "bold red")}
_NAME_WIDTH = max(map(len, CHECKS))
_LEVEL_WIDTH = 7


def show(names: Sequence[str], *, json: bool, bundle: Path | None) -> int:
    """Run the checks called so, all where none is named. Returns 0 only where nothing is an error.

    Raises Problem for an unknown check, and where the bundle can't be written.
    """
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise Problem(f"There is no check {unknown[0]}; there are: {', '.join(CHECKS)}.")
    car = CheckContext.find()
    found: list[dict[str, str]] = []
    for check, findings in run([CHECKS[name] for name in names or CHECKS], lambda check: check.load()(car)):
        for finding in findings:
            found.append({"check": check.name, **asdict(finding)})
            if json:
                print_json(found[-1])
            else:
                _print(check, finding)
    if bundle is not None:
        from tools.doctor.bundle import write

        write(bundle, car, found)
        if not json:
            say()
            say(f"{bundle} holds what a bug report needs; look into it before you send it.")
    levels = [entry["level"] for entry in found]
    if not json:
        _sum_up(levels)
    return 1 if "error" in levels else 0


def _print(check: Check, finding: Finding) -> None:
    mark, style = _MARKS[finding.level]
    lines = [
        Text.assemble(
            (f"{mark:<{_LEVEL_WIDTH}}", style),
            "  ",
            (f"{check.name:<{_NAME_WIDTH}}", "bold"),
            "  ",
            finding.sentence,
        )
    ]
    if finding.remedy:
        lines.append(Text(f"{' ' * (_LEVEL_WIDTH + _NAME_WIDTH + 4)}→ {finding.remedy}"))
    for line in lines:
        console().print(line, soft_wrap=True)


def _sum_up(levels: list[str]) -> None:
    say()
    errors, warnings = levels.count("error"), levels.count("warning")
    if errors or warnings:
        say(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}.")
    else:
        say("All is well.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
