"""The live view: pictures with their own readings, only while someone looks, each viewer at its own pace."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from services.overlay.viewers import MAX_VIEWERS
from tests.conftest import PATIENCE_S, wait_for
from tests.services.overlay.conftest import Overlay, closing_code
from tests.services.overlay.standin import CODES, HEIGHT, MODEL, PAPER_BGR, WIDTH, StandIn


def say(viewer: ClientConnection, **message: Any) -> None:
    viewer.send(json.dumps(message))


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(message[:4], "big")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def next_picture(viewer: ClientConnection, within_s: float = PATIENCE_S) -> tuple[dict[str, Any], bytes]:
    """Ask for a picture and wait for it."""
    say(viewer, type="ready")
    deadline = time.monotonic() + within_s
    while True:
        message = viewer.recv(deadline - time.monotonic())
        if isinstance(message, bytes):
            return unpack(message)


def next_message(viewer: ClientConnection, kind: str, within_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + within_s
    while True:
        message = viewer.recv(deadline - time.monotonic())
        if isinstance(message, str) and (content := json.loads(message))["type"] == kind:
            return content


@pytest.fixture
def overlay(shared_overlay: Overlay) -> Overlay:
    return shared_overlay


@pytest.fixture
def car(shared_car: StandIn) -> Iterator[StandIn]:
    yield shared_car
    shared_car.reading = True
    shared_car.noisy = False


def has_opencv(overlay: Overlay) -> bool:
    assert overlay.process is not None
    return "cv2" in Path(f"/proc/{overlay.process.pid}/maps").read_text()


def test_nobody_looks_so_nothing_is_drawn_or_even_loaded(overlay: Overlay, car: StandIn) -> None:
    # The first test of this module: nobody has looked yet.
    wait_for(lambda: overlay.status()["capture"]["state"] == "ready")
    wait_for(lambda: car.frames > 20)
    assert not has_opencv(overlay)
    assert overlay.pictures() == 0
    with overlay.live() as viewer:
        next_picture(viewer)
    assert has_opencv(overlay)


def test_a_picture_comes_with_what_was_read_in_that_very_frame(overlay: Overlay, car: StandIn) -> None:
    with overlay.live() as viewer:
        header, jpeg = next_picture(viewer)
        while header["reading"] is None:  # the first may be older than the first reading
            header, jpeg = next_picture(viewer)
    assert [code["text"] for code in header["reading"]["codes"]] == [code.text for code in CODES]
    assert header["reading"]["codes"][0]["digits"][4]["confidence"] == 0.81
    assert header["reading"]["model"]["version"] == MODEL.version
    assert header["view"] == "scene:"
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels[100, 60].astype(int) - PAPER_BGR).max() < 12, (
        "the paper card stands where it was drawn"
    )


def test_pictures_are_new_ones_and_their_age_can_be_told(overlay: Overlay, car: StandIn) -> None:
    with overlay.live() as viewer:
        frame_ids = []
        for _ in range(5):
            header, _ = next_picture(viewer)
            frame_ids.append(header["frame_id"])
            say(viewer, type="clock", sent=1.5)
            clock = next_message(viewer, "clock")
            assert clock["sent"] == 1.5
            assert 0 < clock["now"] - header["captured"] < 5_000
    assert frame_ids == sorted(set(frame_ids))


def test_frames_that_nobody_reads_are_shown_without_a_reading(overlay: Overlay, car: StandIn) -> None:
    car.reading = False
    with overlay.live() as viewer:
        header, _ = next_picture(viewer)
    assert header["reading"] is None


def test_a_page_that_is_hidden_gets_nothing_until_it_is_looked_at_again(
    overlay: Overlay, car: StandIn
) -> None:
    with overlay.live() as viewer:
        next_picture(viewer)
        say(viewer, type="ready")
        say(viewer, type="rest")
        say(viewer, type="clock", sent=1)
        next_message(viewer, "clock")  # what was under way before has come
        with pytest.raises(TimeoutError):
            viewer.recv(2.5)  # the state of the services would come every second
        say(viewer, type="look")
        assert next_message(viewer, "board")["car"] == "testcar"
        next_picture(viewer)


def test_pictures_end_when_the_viewer_goes(overlay: Overlay, car: StandIn) -> None:
    with overlay.live() as viewer:
        wait_for(lambda: next_picture(viewer) and overlay.pictures_per_second() > 0)
    wait_for(lambda: overlay.pictures_per_second() == 0)
    before, frames = overlay.pictures(), car.frames
    wait_for(lambda: car.frames > frames + 30)
    assert overlay.pictures() == before


def test_a_viewer_that_never_reads_neither_grows_memory_nor_slows_another(
    overlay: Overlay, car: StandIn
) -> None:
    car.noisy = True
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(overlay.live())
        while len(jpeg := next_picture(reader)[1]) < 100_000:
            pass
        sleepers = [stack.enter_context(overlay.live(max_queue=1)) for _ in range(3)]
        for sleeper in sleepers:
            say(sleeper, type="ready")
        next_picture(reader)
        memory_before = overlay.memory_kb()
        for _ in range(100):
            for sleeper in sleepers:
                say(sleeper, type="ready")
            next_picture(reader, within_s=3.0)
        grown = overlay.memory_kb() - memory_before
        for sleeper in sleepers:
            sleeper.socket.shutdown(socket.SHUT_RDWR)
    assert grown * 1024 < 20 * len(jpeg), "100 pictures were asked for and not taken"


def test_more_pages_than_can_be_served_are_told_so(overlay: Overlay) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_VIEWERS):
            stack.enter_context(overlay.live(max_queue=None))  # takes all that comes
        with overlay.live() as one_too_many, pytest.raises(ConnectionClosed) as caught:
            one_too_many.recv(5)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013
        assert "close one of them" in caught.value.rcvd.reason
    with overlay.live() as viewer:
        next_message(viewer, "board")


@pytest.mark.parametrize("nonsense", ["", "null", "[]", "7", '{"type": []}', '{"type": "root"}', b"\x00\xff"])
def test_who_talks_nonsense_is_shown_out(overlay: Overlay, nonsense: str | bytes) -> None:
    with overlay.live() as viewer:
        viewer.send(nonsense)
        assert closing_code(viewer) == 1008
    assert overlay.ask("GET", "/", overlay.cookie).status == 200


def test_who_talks_too_long_is_shown_out(overlay: Overlay) -> None:
    with overlay.live() as viewer:
        viewer.send(json.dumps({"type": "clock", "sent": 1, "more": "x" * 5000}))
        assert closing_code(viewer) == 1009
