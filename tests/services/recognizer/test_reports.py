"""The recognizer's messages about frames of any shape."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from messages.message import new_ulid
from services.recognizer.reports import image_of
from services.recognizer.track import TrackEvent


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 4096), (4096, 300), (1, 4096), (4096, 1)])
def test_the_picture_of_an_event_fits_into_its_message(size: tuple[int, int]) -> None:
    width, height = size
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    event = TrackEvent("new", 1, "1", 0.9, (0.9,), 1, 1, 3, (0, 0, 20, 20))
    image = image_of(event, new_ulid(), noise)
    decoded = cv2.imdecode(np.frombuffer(image.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape[:2] == (image.height, image.width)
    assert image.width <= 320
