"""What a finished run leaves beside its model: scores on the test sets, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.evaluate.candidates import ComparedModel
from tools.evaluate.scores import DigitOutcomes, SetScore
from tools.evaluate.test_sets import all_five, outcome
from tools.train import figures, runs
from tools.train.data.datasets import DataError

SCORED = ("mnist", "pen")
"""Where a run's model is judged: where it should shine, and what people draw on the pad."""


def score(candidate: ComparedModel, data: Path) -> dict[str, DigitOutcomes]:
    """What the model says of the test sets that are in `data`; nothing may be chosen by it."""
    outcomes = {}
    for name in SCORED:
        try:
            outcomes[name] = outcome(candidate, data, name)
        except DataError:
            continue
    return outcomes


def write(
    run: Path,
    outcomes: dict[str, DigitOutcomes],
    history: Sequence[dict[str, float]],
    course_says: float | None = None,
    **more: Any,
) -> None:
    """Draw the run's pictures and put its figures into metrics.json, with `more` beside them."""
    if history:
        figures.curves(history, run / "curves.png", course_says)
    for name, answered in outcomes.items():
        figures.confusion(answered, run / f"confusion-{name}.png")
        figures.mistakes(answered, run / f"mistakes-{name}.png")
        figures.reliability(answered, run / f"reliability-{name}.png")
    if "mnist" in outcomes:
        figures.predictions(outcomes["mnist"], run / "predictions.png")
    scores = {name: asdict(answered.score) for name, answered in outcomes.items()}
    if "pen" in outcomes:
        codes = all_five(outcomes["pen"].right)
        scores["codes"] = asdict(SetScore.of("pen on the pad, all five boxes", codes))
    content = {
        "course_says": course_says,
        "history": list(history),
        "scores": scores,
        "confusion": {name: answered.confusion.tolist() for name, answered in outcomes.items()},
        "reliability": {name: answered.reliability() for name, answered in outcomes.items()},
        **more,
    }
    runs.add(run, runs.METRICS, content)


def layers(model: Any) -> list[tuple[str, str]]:
    """A Keras model's layers for `figures.network`: what each is, and the shape that leaves it."""
    found = [("input", _shape(model.input_shape))]
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
        what = kind if activation == "linear" else f"{kind}, {activation}"
        found.append((what, _shape(layer.output.shape)))
    return found


def _shape(shape: Sequence[int | None]) -> str:
    return "×".join(str(length) for length in shape[1:])
