"""The pictures of a run: its network, curves, confusion matrix, mistakes, reliability, ten predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tools.evaluate.scores import DigitOutcomes

INK, ACCENT, WRONG, QUIET = "#1c2733", "#1769aa", "#c0392b", "#8894a0"
_DPI = 110
_LARGEST_SHEET = 60

History = Sequence[dict[str, float]]


def curves(history: History, path: Path, course_says: float | None = None) -> None:
    """What was read right after each epoch, and the loss. A row of `history` names its sets."""
    figure = _figure(9, 3.4)
    shares, losses = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name in _sets(history):
        shares.plot(epochs, [row[name] for row in history], label=name.replace("_", " "), marker="o", ms=3)
    for name in [key for key in history[0] if key == "loss" or key.endswith("_loss")]:
        label = "train" if name == "loss" else name.removesuffix("_loss").replace("_", " ")
        losses.plot(epochs, [row[name] for row in history], label=label, marker="o", ms=3)
    if course_says is not None:
        shares.axhline(
            course_says, color=QUIET, ls="--", lw=1, label=f"the course, on t10k: {course_says:.2%}"
        )
    for axes, title in ((shares, "read right"), (losses, "loss")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    shares.yaxis.set_major_formatter(lambda value, position: f"{value:.1%}")
    _save(figure, path)


def _sets(history: History) -> list[str]:
    no_set = {"epoch", "loss", "seconds", "minutes"}
    return [key for key in history[0] if key not in no_set and not key.endswith("_loss")]


def confusion(outcome: DigitOutcomes, path: Path) -> None:
    """Rows are what was written, columns what was read; the diagonal, what is right, is left white."""
    counts = outcome.confusion
    wrong = counts - np.diag(np.diag(counts))
    figure = _figure(5, 4.6)
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds", vmax=max(1, wrong.max() * 1.3))
    for row in range(len(counts)):
        for column in range(len(counts)):
            if counts[row, column]:
                colour = QUIET if row == column else INK
                axes.text(
                    column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour
                )
    axes.set_xticks(range(len(counts)))
    axes.set_yticks(range(len(counts)))
    axes.set_xlabel("read")
    axes.set_ylabel("written")
    axes.set_title(_title(outcome), fontsize=9)
    _save(figure, path)


def mistakes(outcome: DigitOutcomes, path: Path, largest: int = _LARGEST_SHEET) -> None:
    """The digits read wrong, the surest first, each with what it is and what was read."""
    chosen = outcome.mistakes()[:largest]
    columns, rows = 12, max(1, -(-len(chosen) // 12))
    figure = _figure(10, 1.05 * rows + 0.5)
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.axis("off")
        if place < len(chosen):
            index = chosen[place]
            axes.imshow(255 - outcome.inks[index], cmap="gray", vmin=0, vmax=255)
            said = f"{outcome.labels[index]}→{outcome.said[index]} {outcome.confidence[index]:.0%}"
            axes.set_title(said, fontsize=7, color=WRONG, pad=2)
    shown = "" if len(chosen) == len(outcome.mistakes()) else f", the {len(chosen)} surest of them"
    count = len(outcome.mistakes())
    figure.suptitle(f"{outcome.set}: {count} of {len(outcome.labels)} read wrong{shown}", fontsize=10)
    _save(figure, path)


def reliability(outcome: DigitOutcomes, path: Path) -> None:
    """How often the model is right where it states a confidence: on the diagonal it means what it says."""
    rows = outcome.reliability()
    figure = _figure(4.6, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, lw=1, ls="--")
    sizes = [20 + 180 * (row["count"] / len(outcome.labels)) ** 0.5 for row in rows]
    axes.scatter([row["confidence"] for row in rows], [row["right"] for row in rows], sizes, color=ACCENT)
    for row in rows:
        at = (row["confidence"], row["right"])
        axes.annotate(
            str(row["count"]), at, xytext=(0, -14), textcoords="offset points", fontsize=7, ha="center"
        )
    axes.set_xlabel("stated confidence")
    axes.set_ylabel("share right")
    axes.set_xlim(0, 1.04)
    axes.set_ylim(0, 1.04)
    axes.set_title(f"{outcome.set}\noff by {outcome.score.calibration_error:.2%}", fontsize=9)
    _save(figure, path)


def predictions(outcome: DigitOutcomes, path: Path, count: int = 10) -> None:
    """The first digits of the set and what was read (ex10_5)."""
    figure = _figure(10, 1.5)
    for index, axes in enumerate(figure.subplots(1, count)):
        axes.axis("off")
        axes.imshow(outcome.inks[index], cmap="gray", vmin=0, vmax=255)
        colour = INK if outcome.right[index] else WRONG
        axes.set_title(f"{outcome.said[index]}  {outcome.confidence[index]:.0%}", fontsize=9, color=colour)
    _save(figure, path)


def network(layers: Sequence[tuple[str, str]], path: Path, parameters: int) -> None:
    """The network's layers from top to bottom: what each is and the shape that leaves it (ex10_2)."""
    figure = _figure(4.2, 0.62 * len(layers) + 0.6)
    axes = figure.subplots()
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.set_ylim(len(layers) - 0.5, -0.6)
    for place, (kind, shape) in enumerate(layers):
        box: dict[str, Any] = {"boxstyle": "round,pad=0.35", "facecolor": "#eef3f8", "edgecolor": ACCENT}
        axes.text(0.5, place, f"{kind}   {shape}", ha="center", va="center", fontsize=9, bbox=box)
        if place:
            arrow = {"arrowstyle": "->", "color": QUIET}
            axes.annotate("", (0.5, place - 0.27), (0.5, place - 0.73), arrowprops=arrow)
    axes.set_title(f"{parameters:,} parameters", fontsize=9)
    _save(figure, path)


def comparison(held: Sequence[tuple[str, dict[str, Any]]], path: Path) -> None:
    """Runs by name with their metrics: what each reads right, with its interval, and how it came there."""
    figure = _figure(11, 0.42 * len(held) + 2.4)
    bars, lines = figure.subplots(1, 2)
    names = [name for name, _ in held]
    sets = list(dict.fromkeys(key for _, metrics in held for key in metrics["scores"] if key != "codes"))
    thick = 0.8 / max(1, len(sets))
    for place, key in enumerate(sets):
        scores = [metrics["scores"].get(key) for _, metrics in held]
        title = next(score["set"] for score in scores if score)
        at = [row + (place - (len(sets) - 1) / 2) * thick for row, score in enumerate(scores) if score]
        known = [score for score in scores if score]
        shares = [score["share"] for score in known]
        reach = [
            [score["share"] - score["low"] for score in known],
            [score["high"] - score["share"] for score in known],
        ]
        bars.barh(at, shares, thick * 0.9, xerr=reach, label=title, error_kw={"lw": 0.8, "ecolor": INK})
        for row, share in zip(at, shares, strict=True):
            bars.text(0.01, row, f"{share:.2%}", va="center", fontsize=7, color="white")
    bars.set_yticks(range(len(names)), names, fontsize=8)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.02)
    bars.xaxis.set_major_formatter(lambda value, position: f"{value:.0%}")
    bars.set_title("read right")
    bars.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    for name, metrics in held:
        history = metrics["history"]
        if history:
            lines.plot(
                [row["epoch"] for row in history],
                [row["loss"] for row in history],
                marker="o",
                ms=3,
                label=name,
            )
    lines.xaxis.get_major_locator().set_params(integer=True)
    lines.set_title("training loss")
    lines.set_xlabel("epoch")
    lines.grid(alpha=0.25)
    lines.legend(frameon=False, fontsize=7)
    _save(figure, path)


def _title(outcome: DigitOutcomes) -> str:
    score = outcome.score
    return f"{outcome.set}\n{score.right} of {score.count} right, {score.share:.2%}"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI)
