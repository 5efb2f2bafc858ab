"""Runs side by side: one page that needs no other file, and one picture."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.train import figures, runs

PICTURES = {
    "network.png": "The network",
    "curves.png": "Curves",
    "predictions.png": "The first ten digits of the test",
    "confusion-mnist.png": "Who was taken for whom: MNIST",
    "confusion-pen.png": "Who was taken for whom: pen strokes",
    "reliability-mnist.png": "Confidence and truth: MNIST",
    "reliability-pen.png": "Confidence and truth: pen strokes",
    "mistakes-mnist.png": "Mistakes: MNIST",
    "mistakes-pen.png": "Mistakes: pen strokes",
}
_BROAD = ("curves.png", "predictions.png", "mistakes-mnist.png", "mistakes-pen.png")
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #708090; --best: #1769aa; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p { color: var(--quiet); margin: .2rem 0 1rem }
table { border-collapse: collapse } th, td { padding: .3rem .9rem .3rem 0; text-align: right }
th, td { vertical-align: top }
th { font-weight: 600; text-align: left }
tr:first-child th { text-align: right } td { font-variant-numeric: tabular-nums }
tr { border-bottom: 1px solid var(--line) } td small { color: var(--quiet); display: block }
td.best { color: var(--best); font-weight: 600 }
.wide { overflow-x: auto } .row { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; flex: 1 1 22rem; max-width: 60rem }
figure.broad { flex-basis: 40rem } figcaption { color: var(--quiet); font-size: .85rem }
img { max-width: 100%; background: #fff; border-radius: 4px } details { margin: .3rem 0 }
pre { overflow-x: auto; font-size: .8rem }
"""


def page(folders: Sequence[Path]) -> str:
    """HTML with the figures, pictures and settings of the runs, all in it. Raises RunError."""
    held = [(folder, runs.read(folder, runs.CONFIG), runs.read(folder, runs.METRICS)) for folder in folders]
    sections = [_table(held)]
    for name, title in PICTURES.items():
        shown = [_figure(folder, name) for folder, _, _ in held if (folder / name).is_file()]
        if shown:
            sections.append(f"<h2>{html.escape(title)}</h2><div class=row>{''.join(shown)}</div>")
    sections.append(
        "<h2>What decided each run</h2>" + "".join(_settings(folder, config) for folder, config, _ in held)
    )
    count = f"{len(held)} runs" if len(held) > 1 else "1 run"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>smartcar: {count}</title>"
        f'<meta name=viewport content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{count}</h1><p>Shares are of test digits that were neither trained nor chosen on; in grey "
        f"their 95 % interval (Wilson).</p>{''.join(sections)}</html>\n"
    )


def comparison(folders: Sequence[Path], path: Path) -> None:
    """The runs' shares right as bars with their intervals, and their training curves, in one picture."""
    held = [(folder.name, runs.read(folder, runs.METRICS)) for folder in folders]
    figures.comparison(held, path)


def _table(held: Sequence[tuple[Path, dict[str, Any], dict[str, Any]]]) -> str:
    metrics = [each for _, _, each in held]
    rows = [_row("", [f"<th>{html.escape(folder.name)}</th>" for folder, _, _ in held])]
    for name in _in_order(key for each in metrics for key in each["scores"]):
        scores = [each["scores"].get(name) for each in metrics]
        title = next(score["set"] for score in scores if score)
        shares = [score["share"] if score else -1 for score in scores]
        best = max(shares) if len(set(shares)) > 1 else None
        rows.append(_row(title, [_score(score, best) for score in scores]))
    plain: dict[str, Callable[[dict[str, Any], dict[str, Any]], str]] = {
        "the course says, of t10k": lambda config, each: _percent(each.get("course_says")),
        "confidence off by, MNIST": lambda config, each: _error(each, "mnist"),
        "confidence off by, pen strokes": lambda config, each: _error(each, "pen"),
        "parameters": lambda config, each: f"{each['parameters']:,}" if "parameters" in each else "",
        "epochs": lambda config, each: str(len(each["history"])),
        "minutes": lambda config, each: f"{each.get('minutes', 0):.1f}",
        "on": lambda config, each: config.get("environment", {}).get("devices", ""),
    }
    for title, tell in plain.items():
        cells = [tell(config, each) for _, config, each in held]
        if any(cells):
            rows.append(_row(title, [f"<td>{html.escape(cell)}</td>" for cell in cells]))
    return f"<div class=wide><table>{''.join(rows)}</table></div>"


def _row(title: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{html.escape(title)}</th>{''.join(cells)}</tr>"


def _score(score: dict[str, Any] | None, best: float | None) -> str:
    if score is None:
        return "<td></td>"
    mark = " class=best" if score["share"] == best else ""
    interval = f"{score['low']:.2%} to {score['high']:.2%} of {score['count']:,}"
    return f"<td{mark}>{score['share']:.2%}<small>{interval}</small></td>"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _error(metrics: dict[str, Any], name: str) -> str:
    return _percent(metrics["scores"].get(name, {}).get("calibration_error"))


def _figure(folder: Path, name: str) -> str:
    packed = base64.b64encode((folder / name).read_bytes()).decode()
    title = html.escape(folder.name)
    broad = " class=broad" if name in _BROAD else ""
    return (
        f'<figure{broad}><img alt="{title}: {name}" src="data:image/png;base64,{packed}">'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _settings(folder: Path, config: dict[str, Any]) -> str:
    text = json.dumps(config, indent=2, ensure_ascii=False)
    return f"<details><summary>{html.escape(folder.name)}</summary><pre>{html.escape(text)}</pre></details>"


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
