"""The eye: what it sees in pictures of any size, how touching digits are parted, which files are none."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle.bundle import Bundle
from models.eye.acceptance import check_eye
from models.eye.decoding import UNIT, decode
from models.eye.eye import Eye, merged
from models.eye.network import EyeError, Maps
from models.geometry import intersection_over_union
from models.importing.isolated import prove
from models.ink.strokes import render
from models.ink.synthetic_handwriting import into_line, write
from models.refusal import Refusal
from tests.models.making import FACTORY, rewritten
from tools.model.making import set_eye

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def eye() -> Eye:
    return Eye.of()


@pytest.fixture(scope="module")
def factory() -> Bundle:
    return Bundle.load(FACTORY)


def card(text: str, tall: float, size: tuple[int, int] = (640, 480)) -> Pixels:
    """A row of digits of a height by the built-in hand, dark on light, in the middle of a picture."""
    ink = np.zeros(size[::-1], np.uint8)
    digits = into_line(write(text, seed=3), x=60, y=(size[1] - tall) / 2, height=tall)
    for digit in digits:
        ink |= render(digit, size, max(1, round(tall / 22)))
    return np.asarray(cv2.GaussianBlur(225 - (ink * 0.7).astype(np.uint8), (0, 0), 0.8), np.uint8)


# what it sees


@pytest.mark.parametrize("tall", [24, 40, 80])
def test_each_digit_of_a_row_is_seen_once_and_in_its_place(eye: Eye, tall: int) -> None:
    seen = sorted(digit.box for digit in eye.glance(card("3174", tall)) if digit.score > 0.2)
    assert len(seen) == 4
    assert all(abs(y + h / 2 - 240) < 0.3 * tall for _, y, _, h in seen)
    assert all(after[0] > before[0] + before[2] / 2 for before, after in pairwise(seen))


def test_light_ink_on_dark_is_seen_too(eye: Eye) -> None:
    dark = card("3174", 60)
    seen = sorted(digit.box for digit in eye.glance(dark) if digit.score > 0.2)
    inverted = sorted(digit.box for digit in eye.glance(255 - dark) if digit.score > 0.2)
    assert len(seen) == len(inverted) == 4
    assert all(intersection_over_union(*pair) > 0.6 for pair in zip(seen, inverted, strict=True))


def test_its_ink_is_the_digits_own_and_bright_on_black(eye: Eye) -> None:
    for digit in eye.glance(card("3174", 60)):
        assert digit.ink.dtype == np.uint8
        assert digit.ink.max() > 150
        assert digit.ink[0].max() < 60, "the margin is black"
        assert 0.03 < (digit.ink > 100).mean() < 0.6


@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(eye: Eye, scale: float) -> None:
    picture = card("3174", 60)
    scaled = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    small = sorted(digit.box for digit in eye.glance(picture) if digit.score > 0.2)
    large = sorted(views[0].box for views in merged(eye.search(scaled, (640, 320))) if views[0].score > 0.2)
    assert len(small) == len(large)
    for before, (x, y, w, h) in zip(small, large, strict=True):
        box = round(x / scale), round(y / scale), round(w / scale), round(h / scale)
        assert intersection_over_union(before, box) > 0.5


@pytest.mark.parametrize(
    "shape", [(480, 640, 3), (64, 64, 3), (30, 200), (1500, 2000), (8, 8, 3), (1, 1), (33, 700)]
)
def test_blank_pictures_of_any_size_hold_nothing(eye: Eye, shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 200, np.uint8)
    assert eye.glance(picture) == []
    assert eye.search(picture, (640, 320)) == [[], []]


@pytest.mark.parametrize("shape", [(0, 10), (10, 10, 3, 3), (5,)])
def test_what_is_no_picture_is_refused(eye: Eye, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a picture is"):
        eye.glance(np.zeros(shape, np.uint8))


def test_what_is_seen_at_two_sizes_is_one_digit(eye: Eye) -> None:
    seen = eye.glance(card("3174", 60))
    assert [len(views) for views in merged([seen, seen])] == [2] * 4
    assert [len(views) for views in merged([seen])] == [1] * 4


def test_a_stroke_that_one_look_takes_for_a_digit_gives_way_to_the_digit_that_all_see(eye: Eye) -> None:
    whole, *_ = eye.glance(card("3174", 60))
    x, y, width, height = whole.box
    stroke = replace(whole, box=(x, y, width // 3, height), score=1.2 * whole.score)
    assert [views[0].box for views in merged([[whole], [whole, stroke]])] == [whole.box]


# decoding


def test_touching_ink_is_parted_by_where_it_points_to() -> None:
    """A bar of ink, its left half belonging to one digit and its right half to another."""
    grey = np.full((64, 128), 220, np.uint8)
    grey[16:48, 32:96] = 40
    ink, centre = np.zeros((16, 32, 4), np.float32), np.zeros((16, 32), np.float32)
    offset = np.zeros((16, 32, 3), np.float32)
    ink[4:12, 8:24] = 1
    for left in (8, 16):
        centre[8, left + 4] = 0.9
        ys, xs = np.mgrid[0:16, left : left + 8]
        offset[:, left : left + 8] = np.stack(
            [(left + 4 - xs) * 4 / UNIT, (8 - ys) * 4 / UNIT, np.zeros_like(xs)], axis=2
        )
    first, second = sorted(decode(grey, Maps(ink, centre, offset)), key=lambda digit: digit.box)
    assert first.score == second.score == pytest.approx(0.9)
    assert first.box == (32, 16, 32, 32)
    assert second.box == (64, 16, 32, 32)


def test_ink_that_points_nowhere_is_no_digit() -> None:
    ink = np.ones((16, 16, 4), np.float32)
    offset = np.full((16, 16, 3), 9, np.float32)
    centre = np.zeros((16, 16), np.float32)
    centre[8, 8] = 1
    offset[..., 2] = 0
    assert decode(np.full((64, 64), 90, np.uint8), Maps(ink, centre, offset)) == []


# files


def test_the_shipped_eye_passes_its_test_and_sees_golden_digits(factory: Bundle) -> None:
    assert factory.eye is not None
    assert len(factory.eye) <= 400_000
    golden = factory.golden()
    check_eye(factory.eye, golden)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "can't be run"),
        (b"TFL3" * 100, "can't be run"),
        ((FACTORY / "model.tflite").read_bytes(), "are due"),
    ],
    ids=["nothing", "garbage", "a model of digits"],
)
def test_a_file_that_is_no_eye_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(EyeError, match=said):
        Eye(content)


def test_a_bundle_whose_eye_is_none_is_refused_before_it_reads(tmp_path: Path, factory: Bundle) -> None:
    bundle = Bundle.load(rewritten(tmp_path / "b", files={"eye.tflite": factory.model}))
    with pytest.raises(Refusal, match="are due"):
        prove(bundle)


def test_a_bundle_without_an_eye_reads_with_the_shipped_one(tmp_path: Path, factory: Bundle) -> None:
    bundle = Bundle.load(without_eye(tmp_path / "b"))
    assert bundle.eye is None
    prove(bundle)
    picture = card("3174", 60)
    own, shipped = Eye.of(bundle).glance(picture), Eye.of(factory).glance(picture)
    assert [digit.box for digit in own] == [digit.box for digit in shipped]


def test_an_eye_is_put_into_a_bundle_and_a_broken_one_is_not(tmp_path: Path, factory: Bundle) -> None:
    folder = without_eye(tmp_path / "b")
    before = Bundle.load(folder)
    (tmp_path / "eye.tflite").write_bytes(factory.model)
    with pytest.raises(Refusal):
        set_eye(folder, tmp_path / "eye.tflite")
    assert Bundle.load(folder).digest == before.digest
    assert factory.eye is not None
    (tmp_path / "eye.tflite").write_bytes(factory.eye)
    assert set_eye(folder, tmp_path / "eye.tflite") == 0
    assert Bundle.load(folder).eye == factory.eye


def without_eye(folder: Path) -> Path:
    """A copy of the shipped bundle that brings no eye."""
    rewritten(folder, lambda manifest: manifest["files"].pop())
    (folder / "eye.tflite").unlink()
    return folder
