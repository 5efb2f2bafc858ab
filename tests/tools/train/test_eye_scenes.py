"""Scenes that the eye learns from: the same for a seed, and their targets agree with the drawn ink."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.tools.train.training import small_data
from tools.train.data.datasets import DataError
from tools.train.eye.canvas import SceneCanvas
from tools.train.eye.grounds import Grounds
from tools.train.eye.ink import InkSource
from tools.train.eye.lettering import Lettering
from tools.train.eye.scenes import KINDS, NOTHING, SceneMaker
from tools.train.eye.targets import CROWDED_WEIGHT, UNIT, TrainingScene, targets

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("PIL") is None, reason="Pillow, which draws printed words, is not installed"
)
SIDE = 192


@pytest.fixture(scope="module")
def ink(tmp_path_factory: pytest.TempPathFactory) -> InkSource:
    return InkSource(small_data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def surroundings() -> tuple[Grounds, Lettering]:
    return Grounds(folders=(), drawn=1), Lettering(count=20)


def drawn(ink: InkSource, surroundings: tuple[Grounds, Lettering], seed: int) -> list[TrainingScene]:
    maker = SceneMaker(ink, *surroundings, seed)
    return [maker.scene(SIDE, kind) for kind in KINDS]


def test_a_seed_gives_the_same_scenes_again(ink: InkSource, surroundings: tuple[Grounds, Lettering]) -> None:
    first, again, other = (drawn(ink, surroundings, seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        for a, b in zip(one.learned(), two.learned(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not all(np.array_equal(one.grey, two.grey) for one, two in zip(first, other, strict=True))


def test_a_digits_ink_points_to_the_centre_of_its_box_and_tells_its_size(
    ink: InkSource, surroundings: tuple[Grounds, Lettering]
) -> None:
    told = 0
    for scene in drawn(ink, surroundings, 5):
        ys, xs = np.nonzero(scene.offset_weight)
        way = scene.offset[:, ys, xs].astype(float)
        centres = np.column_stack([xs, ys]) * 4 + 1.5 + way[:2].T * UNIT
        sizes = UNIT * 2 ** way[2]
        boxes = scene.boxes[:, :4].astype(float)
        for centre, size in zip(centres, sizes, strict=True):
            middles = boxes[:, :2] + boxes[:, 2:] / 2 - 0.5
            nearest = int(np.hypot(*(middles - centre).T).argmin())
            assert np.hypot(*(middles[nearest] - centre)) < 1
            assert size == pytest.approx(boxes[nearest, 2:].max(), rel=0.01)
            told += 1
    assert told > 200


def test_every_digit_has_a_centre_and_counts_alike_but_for_crowded_ones(
    ink: InkSource, surroundings: tuple[Grounds, Lettering]
) -> None:
    for scene in drawn(ink, surroundings, 6):
        count = len(scene.boxes)
        assert int((scene.heat == 255).sum()) <= count  # two centres may share a pixel
        assert bool((scene.heat == 255).any()) == bool(count)
        weight = float(scene.offset_weight.astype(float).sum())
        assert 0.65 * count - 0.01 <= weight <= 1.35 * CROWDED_WEIGHT * count + 0.01


def test_a_view_of_nothing_has_no_ink_and_counts_everywhere(
    ink: InkSource, surroundings: tuple[Grounds, Lettering]
) -> None:
    scene = SceneMaker(ink, *surroundings, 1).scene(SIDE, NOTHING)
    assert not scene.ink.any()
    assert not scene.heat.any()
    assert not scene.offset_weight.any()
    assert (scene.ink_weight > 0).all()
    assert scene.grey.std() > 1


def test_a_digit_that_is_mostly_out_of_view_is_left_open() -> None:
    whole, half = (_one_bar(x) for x in (40, -10))
    assert len(whole.boxes) == 1
    assert whole.boxes[0, :4].tolist() == [40, 20, 20, 60]
    assert len(half.boxes) == 0
    assert (half.ink_weight[12:38, 0:4] == 0).all()
    assert (half.heat_weight[6:18, 0:2] == 0).all()
    assert half.ink_weight[60, 60] > 0


def test_what_does_not_stand_out_is_left_open() -> None:
    canvas = SceneCanvas(128)
    canvas.write(np.full((60, 20), 255, np.uint8), 40, 20)
    scene = targets(canvas, np.zeros((128, 128), np.uint8), np.full((128, 128), 2.0, np.float32))
    assert len(scene.boxes) == 0
    assert (scene.ink_weight[12:38, 21:29] == 0).all()


def test_data_without_pen_strokes_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pendigits-orig\.tra is missing"):
        InkSource(tmp_path)


def test_the_drawing_process_ends_when_the_training_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.tools.train.eye_pool_process", str(small_data(tmp_path / "data"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        drawing = int(training.stdout.readline())
        training.kill()
    deadline = time.monotonic() + 90
    while _runs(drawing):
        assert time.monotonic() < deadline, "it goes on drawing for nobody"
        time.sleep(0.1)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _one_bar(x: int) -> TrainingScene:
    """A bar 20 wide and 60 high on a scene of 128, which stands out well."""
    canvas = SceneCanvas(128)
    canvas.write(np.full((60, 20), 255, np.uint8), x, 20)
    return targets(canvas, np.zeros((128, 128), np.uint8), np.full((128, 128), 99.0, np.float32))
