"""How a benchmark says what it measured."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench import yardstick
from tools.terminal.output import console, print_json


@dataclass(frozen=True)
class Figure:
    """One measured figure; `goal` is what it is to reach, at most or (with `at_least`) at least."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of all lie, without interpolation. Raises ValueError for none."""
    if not samples:
        raise ValueError("nothing was measured")
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(name: str, samples: Sequence[float], unit: str, goal: float | None = None) -> list[Figure]:
    """The median (which is what the goal is for), p95, p99 and the mean."""
    return [
        Figure(f"{name}, p50", percentile(samples, 0.5), unit, goal),
        Figure(f"{name}, p95", percentile(samples, 0.95), unit),
        Figure(f"{name}, p99", percentile(samples, 0.99), unit),
        Figure(f"{name}, mean", statistics.fmean(samples), unit),
    ]


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            model = line.partition(":")[2].strip()
            break
    return {"processor": model, "cores": os.cpu_count() or 0, "python": platform.python_version()}


def show(title: str, measure: Callable[[], Sequence[Figure]], as_json: bool, by: str) -> None:
    """Measure the machine, then what is asked for, and print it: a table, or one JSON object for programs.

    Figures that are times are said as multiples of the machine's time for the yardstick `by`, too.
    """
    took_ms = yardstick.measure()
    rows = [(each, yardstick.multiple(each.value, each.unit, took_ms[by])) for each in measure()]
    if as_json:
        print_json(
            {
                "benchmark": title,
                "machine": machine(),
                "yardstick_ms": {name: round(value, 4) for name, value in took_ms.items()},
                "multiples_of": by,
                "figures": [
                    {
                        "name": figure.name,
                        "value": round(figure.value, 4),
                        "unit": figure.unit,
                        "multiple": None if times is None else round(times, 2),
                        "goal": figure.goal,
                        "reached": figure.reached,
                    }
                    for figure, times in rows
                ],
            }
        )
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", f"× {by}", "goal", ""):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for figure, times in rows:
        goal = (
            "" if figure.goal is None else f"{'≥' if figure.at_least else '≤'} {figure.goal:g} {figure.unit}"
        )
        mark = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}[figure.reached]
        multiple = "" if times is None else f"{times:,.2f}"
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}", multiple, goal, mark)
    terminal = console()
    terminal.print(table)
    where = machine()
    terminal.print(f"[dim]{where['processor']}, {where['cores']} cores, Python {where['python']}[/]")
    took = ", ".join(f"{name} {value:.3f} ms" for name, value in took_ms.items())
    terminal.print(f"[dim]yardstick: {took}[/]")
