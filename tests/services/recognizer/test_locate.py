"""Ink that can be digits is found, what is no digit is left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.ink import synthetic_handwriting as hand
from services.recognizer.locate import Candidate, LocateSettings, locate

Picture = NDArray[np.uint8]


def paper(width: int = 640, height: int = 480, light: float = 215, noise: float = 2.5) -> Picture:
    """Empty paper under a camera."""
    rng = np.random.default_rng(5)
    return np.clip(rng.normal(light, noise, (height, width)), 0, 255).astype(np.uint8)


def written(
    picture: Picture,
    text: str,
    x: float,
    y: float,
    height: float,
    *,
    seed: int = 1,
    pen: int = 5,
    contrast: float = 0.7,
) -> list[tuple[int, int, int, int]]:
    """Write on the picture; the box of each digit's ink."""
    boxes = []
    cover = np.zeros(picture.shape[:2], np.uint8)
    for digit in hand.into_line(hand.write(text, seed), x, y, height, gap=0.4):
        own = np.zeros_like(cover)
        for stroke in digit:
            path = np.rint(np.array(stroke) * 16).astype(np.int32)
            cv2.polylines(own, [path], False, 255, pen, cv2.LINE_AA, 4)
        x_own, y_own, w, h = cv2.boundingRect((own > 127).astype(np.uint8))
        boxes.append((int(x_own), int(y_own), int(w), int(h)))
        cover |= own
    share = contrast * cv2.GaussianBlur(cover, (3, 3), 0)[..., None].squeeze() / 255
    picture[:] = (picture * (1 - share)).astype(np.uint8)
    return boxes


def overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    w = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    h = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(w, 0) * max(h, 0)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


def found(candidates: list[Candidate], boxes: list[tuple[int, int, int, int]]) -> int:
    """How many of `boxes` have a candidate of their own."""
    return sum(max((overlap(c.box, box) for c in candidates), default=0) > 0.6 for box in boxes)


@pytest.mark.parametrize("height", [18, 30, 60, 120])
def test_digits_of_any_size_are_found_and_nothing_else(height: int) -> None:
    picture = paper()
    boxes = written(picture, "06234", 40, 100, height, pen=max(2, height // 12))
    candidates = locate(picture)
    assert found(candidates, boxes) == len(candidates) == 5


@pytest.mark.parametrize(("pen", "contrast"), [(2, 0.25), (3, 0.5), (9, 0.9)])
def test_faint_pencil_and_bold_felt_pen_are_found(pen: int, contrast: float) -> None:
    picture = paper()
    boxes = written(picture, "81950", 60, 200, 70, pen=pen, contrast=contrast)
    assert found(locate(picture), boxes) == 5


def test_light_and_shadow_on_the_paper_are_no_ink() -> None:
    light = np.linspace(1.1, 0.4, 640)[None, :].repeat(480, axis=0)
    light[:, 300:] *= 0.6  # a shadow with a hard edge
    picture = np.clip(paper(noise=1.5) * light, 0, 255).astype(np.uint8)
    boxes = written(picture, "3970", 60, 200, 70) + written(picture, "52", 380, 200, 70)
    candidates = locate(picture)
    assert found(candidates, boxes) == 6
    assert len(candidates) <= 7


def test_ruled_lines_and_frames_do_not_hide_the_digits_they_touch() -> None:
    picture = paper()
    for y in range(60, 480, 34):
        cv2.line(picture, (0, y), (639, y + 6), 175, 2)
    cv2.rectangle(picture, (40, 150), (600, 300), 90, 3)
    boxes = written(picture, "47168", 70, 170, 90, pen=7, contrast=0.8)
    assert found(locate(picture), boxes) == 5


def test_lines_frames_edges_specks_and_blots_are_left_out() -> None:
    picture = paper()
    cv2.line(picture, (20, 40), (600, 90), 60, 3)
    cv2.rectangle(picture, (60, 100), (380, 440), 40, 4)
    picture[300:, 400:] = 50
    cv2.circle(picture, (480, 180), 14, 40, -1)
    for x in range(100, 280, 20):
        cv2.circle(picture, (x, 200), 2, 60, -1)
    assert locate(picture) == []


def test_a_digit_cut_off_by_the_edge_is_left_out() -> None:
    picture = paper()
    boxes = written(picture, "88", 40, 430, 80)
    assert boxes[0][1] + boxes[0][3] >= 480
    assert locate(picture) == []


def test_a_stroke_with_a_gap_is_one_digit() -> None:
    picture = paper()
    cv2.line(picture, (205, 100), (240, 98), 60, 4)  # the bar of a five, not quite at its body
    body = np.array([[203, 106], [200, 135], [225, 128], [240, 145], [235, 168], [200, 172]])
    cv2.polylines(picture, [body], False, 60, 4)
    (candidate,) = locate(picture)
    assert overlap(candidate.box, (198, 96, 45, 79)) > 0.8


def test_ink_is_bright_on_black_soft_at_its_edges_and_its_own_alone() -> None:
    picture = paper()
    written(picture, "1", 200, 200, 100, contrast=0.4)
    written(picture, "0", 222, 200, 100, contrast=0.9, seed=2)
    for candidate in locate(picture):
        assert candidate.ink.shape == (candidate.box[3], candidate.box[2])
        assert candidate.ink.max() == 255
        assert np.median(candidate.ink) == 0
        assert ((candidate.ink > 0) & (candidate.ink < 255)).any()
        pieces, _ = cv2.connectedComponents((candidate.ink > 60).astype(np.uint8))
        assert pieces == 2, "one stroke and the ground"


def test_chalk_on_a_blackboard_is_found_where_asked_for() -> None:
    picture = paper()
    boxes = written(picture, "06234", 60, 200, 70)
    board = 255 - picture
    assert found(locate(board, LocateSettings(polarity="both")), boxes) == 5
    assert found(locate(board), boxes) == 0


def test_a_picture_full_of_texture_gives_a_bounded_number_of_candidates() -> None:
    rng = np.random.default_rng(2)
    blots = cv2.resize(
        rng.normal(0, 1, (96, 128)).astype(np.float32), (640, 480), interpolation=cv2.INTER_CUBIC
    )
    picture = np.clip(150 + 60 * blots, 0, 255).astype(np.uint8)
    assert len(locate(picture, LocateSettings(most=20))) <= 20


def test_colour_and_grey_pictures_are_alike() -> None:
    picture = paper()
    written(picture, "42", 100, 100, 80)
    grey, colour = locate(picture), locate(np.repeat(picture[..., None], 3, axis=2))
    assert [candidate.box for candidate in grey] == [candidate.box for candidate in colour]


@pytest.mark.parametrize("shape", [(5, 5, 3), (480, 640), (1, 900)])
def test_blank_and_tiny_pictures_hold_nothing(shape: tuple[int, ...]) -> None:
    assert locate(np.full(shape, 255, np.uint8)) == []
    assert locate(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("picture", [np.zeros((40, 40, 4), np.uint8), np.zeros((40, 40), np.float32)])
def test_other_arrays_are_refused(picture: Picture) -> None:
    with pytest.raises(ValueError, match="uint8"):
        locate(picture)
