"""The built-in scene: the same pictures for the same seed, with known codes in them."""

from __future__ import annotations

import numpy as np
import pytest

from services.capture.scene import EPISODE, Scene


def test_a_frame_follows_from_seed_and_index_alone() -> None:
    first, second = Scene(320, 240, seed=3), Scene(320, 240, seed=3)
    second.frame(500)  # another order of asking
    for index in (0, 70, EPISODE + 40, 0):
        assert np.array_equal(first.frame(index), second.frame(index))
    assert not np.array_equal(first.frame(0), first.frame(1)), "a camera's picture is never quite still"
    assert not np.array_equal(first.frame(70), Scene(320, 240, seed=4).frame(70))


@pytest.mark.parametrize("size", [(640, 480), (320, 240), (1280, 720), (480, 640)])
def test_frames_have_the_size_asked_for(size: tuple[int, int]) -> None:
    width, height = size
    frame = Scene(width, height).frame(70)
    assert frame.shape == (height, width, 3)
    assert frame.dtype == np.uint8


def test_too_small_a_scene_is_refused() -> None:
    with pytest.raises(ValueError, match="160x120"):
        Scene(100, 100)


def test_every_episode_shows_a_whole_code_that_comes_and_goes() -> None:
    scene = Scene(640, 480, seed=1)
    for episode in range(8):
        start = episode * EPISODE
        assert not any(code.complete for code in scene.truth(start)), "it comes in from outside"
        resting = scene.truth(start + 80)
        assert resting
        for code in resting:
            assert code.complete
            assert 2 <= len(code.digits) <= 7
            assert code.digits.isdigit()
        assert not any(code.complete for code in scene.truth(start + EPISODE - 1)), "and leaves"


def test_the_truth_tells_where_the_ink_is() -> None:
    scene = Scene(640, 480, seed=6)
    grey = scene.frame(80).mean(axis=2)
    for code in scene.truth(80):
        x, y, w, h = code.box
        inside = grey[y : y + h, x : x + w]
        assert inside.min() < 0.6 * np.median(inside), "dark ink on lighter paper"
        corners = np.array(code.corners)
        assert (corners.min(axis=0) <= (x, y)).all()
        assert (corners.max(axis=0) >= (x + w, y + h)).all()


def test_two_codes_in_view_do_not_overlap() -> None:
    scene = Scene(640, 480, seed=1)
    pairs = 0
    for episode in range(12):
        codes = scene.truth(episode * EPISODE + 80)
        if len(codes) == 2:
            pairs += 1
            (_, y, _, h), (_, below, _, _) = codes[0].box, codes[1].box
            assert y + h < below
    assert pairs, "now and then two cards are shown"
