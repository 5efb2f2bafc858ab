"""How a benchmark says what it measured."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    import os

    return {"processor": model, "cores": os.cpu_count() or 0, "python": platform.python_version()}


def show(title: str, figures: Sequence[Figure], as_json: bool) -> None:
    """Print the figures: a table for people, one JSON object for programs."""
    if as_json:
        print_json(
            {
                "benchmark": title,
                "machine": machine(),
                "figures": [
                    {
                        "name": figure.name,
                        "value": round(figure.value, 4),
                        "unit": figure.unit,
                        "goal": figure.goal,
                        "reached": figure.reached,
                    }
                    for figure in figures
                ],
            }
        )
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "goal", ""):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for figure in figures:
        goal = (
            "" if figure.goal is None else f"{'≥' if figure.at_least else '≤'} {figure.goal:g} {figure.unit}"
        )
        mark = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}[figure.reached]
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}", goal, mark)
    terminal = console()
    terminal.print(table)
    where = machine()
    terminal.print(f"[dim]{where['processor']}, {where['cores']} cores, Python {where['python']}[/]")
