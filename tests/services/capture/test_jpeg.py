"""Damaged JPEGs: OpenCV calls them a success, or not; here each is noticed."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from services.capture.jpeg import decode
from services.capture.source import DamagedFrame
from tests.conftest import REPOSITORY

NOISE = np.random.default_rng(7).integers(0, 255, (240, 320, 3), np.uint8)
PICTURE = cv2.GaussianBlur(NOISE, (0, 0), 3)
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()


def test_a_whole_picture_is_taken_also_with_padding_behind_it() -> None:
    for jpeg in (JPEG, JPEG + bytes(500)):
        assert np.abs(decode(jpeg).astype(int) - PICTURE).mean() < 5


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\xd8\xff\xe0",
        JPEG[: len(JPEG) // 2],
        JPEG[: len(JPEG) // 2] + bytes(range(50)),
        JPEG[: len(JPEG) // 3] + JPEG[len(JPEG) // 2 :],
        JPEG[:700] + b"<html>busy</html>",
    ],
)
def test_a_damaged_one_is_refused(damaged: bytes) -> None:
    with pytest.raises(DamagedFrame):
        decode(damaged)
    decode(JPEG)  # and nothing of it clings to the next


def test_bytes_that_many_webcams_put_before_the_end_do_no_harm() -> None:
    assert decode(JPEG[:-2] + b"\0\0" + JPEG[-2:]).shape == PICTURE.shape


def test_standard_error_is_given_back() -> None:
    script = (
        "import os; from tests.services.capture.test_jpeg import JPEG, decode; "
        "decode(JPEG); os.write(2, b'heard')"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=REPOSITORY, check=True)
    assert ran.stderr == b"heard"
