"""The table of `smartcar evaluate`: any model, in the way it wants its digits, beside others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from messages.errors import UserError
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from tests.conftest import REPOSITORY, SHARED
from tests.tools.train.training import small_data
from tools.evaluate import candidates, drawn_pages, peers
from tools.evaluate.candidates import FACTORY_BUNDLE
from tools.evaluate.comparison import judge
from tools.evaluate.scores import DigitOutcomes
from tools.evaluate.test_sets import evaluate
from tools.terminal.problems import Problem
from tools.train.data.datasets import pendigits

COURSE = REPOSITORY / "tests" / "models" / "importing" / "keras_files" / "course-keras2.h5"
DATA = SHARED / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"), train=24, test=100)


def table(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The printed rows by their heading, cells parted."""
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    return {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row}


def test_a_bundle_and_its_bare_model_read_the_same(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge([FACTORY_BUNDLE, FACTORY_BUNDLE / "model.tflite"], data, ("mnist", "pen"))
    rows = table(capsys)
    bundle, bare = rows["100 digits held back of MNIST"]
    assert bundle == bare
    assert float(bundle.split("%")[0]) > 95
    assert "five digits" in rows
    assert rows["model file"][0] == f"{(FACTORY_BUNDLE / 'model.tflite').stat().st_size / 1e3:.3g} KB"


def test_a_network_of_the_courses_kind_gets_its_digits_as_they_are(data: Path) -> None:
    plain = candidates.load(COURSE)
    assert plain.name == "course-keras2, plain"
    ink = np.zeros((98, 98), np.uint8)
    ink[10:40, 10:20] = 255
    with_room = candidates.load(COURSE, "normalised")
    assert not np.allclose(plain.probabilities([ink]), with_room.probabilities([ink]))
    as_is = candidates.PREPARATIONS["plain"](ink)
    assert np.allclose(plain.probabilities([as_is]), plain.probabilities([ink]))
    assert np.allclose(plain.probabilities([ink]).sum(axis=1), 1)


def test_a_bundles_digits_are_always_normalised() -> None:
    assert candidates.load(FACTORY_BUNDLE).preparation == "normalised"
    with pytest.raises(Problem, match="always normalised"):
        candidates.load(FACTORY_BUNDLE, "plain")


def test_what_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    for name, problem in (
        ("notes.txt", r"is no \.h5, \.keras or \.tflite"),
        ("broken.tflite", r"is no \.h5, \.keras or \.tflite"),
        ("no.h5", "No such file"),
    ):
        with pytest.raises(UserError, match=problem):
            candidates.load(tmp_path / name)
    with pytest.raises(Refusal):
        candidates.load(tmp_path / "broken.h5")
    with pytest.raises(Problem, match="neither a bundle nor a finished run"):
        candidates.load(tmp_path)


def test_sets_that_are_not_there_are_named_where_none_was_asked_for(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge([FACTORY_BUNDLE], data, ())
    assert f"not in {data}: unipen, optdigits, photos, sheets" in capsys.readouterr().out
    with pytest.raises(Problem, match=r"optdigits-orig\.tra is missing"):
        judge([FACTORY_BUNDLE], data, ("optdigits",))
    with pytest.raises(Problem, match="is missing"):
        judge([FACTORY_BUNDLE], tmp_path, ())


def test_peers_that_are_not_installed_are_named_with_the_way_to_them(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where no run of the course's model is
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    assert [type(peer) for peer in peers.find()] == [peers.Absent, peers.Absent]
    judge([FACTORY_BUNDLE], data, ("mnist",), with_peers=True)
    said = capsys.readouterr().out
    assert "Tesseract isn't installed: apt install tesseract-ocr" in said
    assert "RapidOCR isn't installed: pip install rapidocr onnxruntime" in said
    assert "smartcar train --preset ex10_12" in said


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_tesseract_reads_print_so_it_is_asked_as_it_should_be(data: Path) -> None:
    import cv2

    ink = np.zeros((120, 120), np.uint8)
    cv2.putText(ink, "5", (30, 90), cv2.FONT_HERSHEY_DUPLEX, 3, 255, 5)
    tesseract = peers.find()[0]
    assert isinstance(tesseract, peers.Peer)
    assert tesseract.read_digit(peers.on_paper(ink)) == "5"
    (score,) = peers.scores(tesseract, data, ("mnist",), limit=7)
    assert score.count == 7


def test_mistakes_are_drawn(data: Path, tmp_path: Path) -> None:
    import cv2

    judge([FACTORY_BUNDLE], data, ("mnist", "pen"), mistakes=tmp_path / "mistakes.png")
    picture = cv2.imread(str(tmp_path / "mistakes.png"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert (picture < 100).any()
    with pytest.raises(Problem, match=r"ending in \.png"):
        judge([FACTORY_BUNDLE], data, ("pen",), mistakes=tmp_path / "absent" / "mistakes.png")


def test_who_was_taken_for_whom() -> None:
    probabilities = np.full((3, 10), 0.01, np.float32)
    probabilities[[0, 1, 2], [7, 2, 1]] = [0.6, 0.9, 0.7]
    outcome = DigitOutcomes("three", [np.zeros((28, 28), np.uint8)] * 3, np.array([7, 7, 7]), probabilities)
    assert outcome.right.tolist() == [True, False, False]
    assert outcome.mistakes().tolist() == [1, 2], "the surest first"
    assert outcome.confusion[7, [1, 2, 7]].tolist() == [1, 1, 1]
    assert [row["count"] for row in outcome.reliability()] == [1, 1, 1]


def test_the_command_takes_the_model_first_and_still_the_data(data: Path) -> None:
    def said(*arguments: str) -> tuple[list[dict[str, object]], str]:
        command = [sys.executable, "-m", "tools.cli", "evaluate", *arguments, "--json"]
        run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in run.stdout.splitlines()], run.stderr

    factory = str(FACTORY_BUNDLE)
    today, quiet = said(factory, "pen", "--data", str(data))
    before, remark = said(str(data), "--bundle", factory, "--set", "pen")
    assert quiet == ""
    assert "takes the model first now" in remark
    scores = [line for line in today if "share" in line]
    assert scores == [line for line in before if "share" in line]
    assert {line["model"] for line in today} == {Bundle.load(FACTORY_BUNDLE).digest}
    assert scores[0]["count"] == 50


def test_an_unknown_set_is_named_with_those_there_are(data: Path) -> None:
    with pytest.raises(ValueError, match=r"svhn; there are .*optdigits"):
        evaluate(FACTORY_BUNDLE, data, ("svhn",))


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data, the handwriting sets, is absent")
def test_the_whole_test_sets_are_scored() -> None:
    scores = evaluate(FACTORY_BUNDLE, DATA, ("pen", "optdigits"))
    assert [score.count for score in scores] == [1248, 249, 1934]
    assert all(score.low < score.share < score.high for score in scores)


def test_drawn_pages_are_the_same_for_every_reader_and_hold_what_they_say(data: Path) -> None:
    seen: list[list[bytes]] = [[], []]
    for kept in seen:

        def read(picture: np.ndarray, kept: list[bytes] = kept) -> list[str]:
            assert picture.shape == (480, 640, 3)
            assert picture.std() > 0, "there is ink on the page"
            kept.append(picture.tobytes())
            return ["1", "?2"]

        scores = [*drawn_pages.alone(read, data, 3), *drawn_pages.mixed(read, data, 3)]
        assert [(score.count, score.right) for score in scores] == [(3, 0)] * 3
        if find_spec("matplotlib"):
            (letters,) = drawn_pages.printed(read, 3)
            assert letters.count - letters.right == 3 * 2, "a ? is no digit"
            assert letters.count > 100
    assert seen[0] == seen[1]


@pytest.mark.parametrize("tall", [16.0, 60.0, 400.0])
def test_a_written_digit_has_the_height_that_was_asked_for(data: Path, tall: float) -> None:
    for digit in pendigits(data, "test")[:20]:
        ink = drawn_pages.written(digit, tall, 0.1 * tall)
        rows, columns = np.nonzero(ink > 60)
        assert np.ptp(rows) + 1 <= 1.05 * tall + 2
        assert np.ptp(rows) + 1 >= 0.9 * tall - 2 or np.ptp(columns) + 1 >= tall, "or it is as wide"
