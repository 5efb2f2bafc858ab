"""A run's pictures and the page that shows runs side by side, from answers that need no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools.evaluate.scores import DigitOutcomes
from tools.train import results, runs
from tools.train.report import comparison, page

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

HISTORY = [
    {"epoch": 1, "loss": 2.0, "train": 0.4, "seconds": 1},
    {"epoch": 2, "loss": 1.0, "train": 0.7, "seconds": 1},
]


def answers(name: str, wrong: int) -> DigitOutcomes:
    """Of forty digits, the first `wrong` are taken for the next digit."""
    labels = np.arange(40) % 10
    said = np.where(np.arange(40) < wrong, (labels + 1) % 10, labels)
    probabilities = np.full((40, 10), 0.02, np.float32)
    probabilities[np.arange(40), said] = 0.82
    return DigitOutcomes(name, [np.full((28, 28), 90, np.uint8)] * 40, labels, probabilities)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = []
    for name, wrong in (("better", 2), ("worse <b>", 30)):
        run = tmp_path_factory.mktemp("runs") / name
        run.mkdir()
        runs.add(run, runs.CONFIG, {"preset": name, "environment": {"devices": "2 CPU cores"}})
        outcomes = {"mnist": answers("MNIST", wrong), "pen": answers("pen", wrong + 5)}
        results.write(run, outcomes, HISTORY, 0.9, parameters=1234)
        made.append(run)
    return made


def test_every_picture_is_one(two_runs: list[Path]) -> None:
    pictures = sorted(two_runs[0].glob("*.png"))
    assert len(pictures) == 8
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 5, f"{path.name} is blank"


def test_figures_are_those_of_the_answers(two_runs: list[Path]) -> None:
    metrics = runs.read(two_runs[0], runs.METRICS)
    assert metrics["scores"]["mnist"]["right"] == 38
    assert metrics["scores"]["codes"]["right"] == 6, "eight codes, the first seven digits wrong"
    assert metrics["confusion"]["mnist"][0][1] == 1


def test_the_page_shows_runs_side_by_side_and_needs_no_other_file(two_runs: list[Path], browser: Any) -> None:
    text = page(two_runs)
    asked: list[str] = []
    sheet = browser.new_page()
    sheet.on("request", lambda request: asked.append(request.url))
    sheet.set_content(text)
    assert sheet.locator("th", has_text="better").count() == 1
    assert sheet.locator("th", has_text="worse <b>").count() == 1, "a name is text, not HTML"
    assert sheet.locator("td.best").all_inner_texts()[0].startswith("95.00%")
    assert sheet.locator("img").count() == 16
    assert sheet.evaluate("[...document.images].every(image => image.naturalWidth > 100)")
    assert all(url.startswith("data:") for url in asked)
    sheet.close()


def test_runs_in_one_picture(two_runs: list[Path], tmp_path: Path) -> None:
    comparison(two_runs, tmp_path / "comparison.png")
    picture = cv2.imread(str(tmp_path / "comparison.png"))
    assert picture is not None
    assert picture.std() > 5
