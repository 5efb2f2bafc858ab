"""`smartcar view`: a real window on a virtual screen, on a car that reads."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.processes import environment, service
from tests.tools.car import command
from tests.tools.pad.virtual_screen import Screen, screen
from tools.observe.view import TITLE

__all__ = ["screen"]  # fixture

GREEN = (80, 200, 80)
"""The frame around a code that was read, BGR."""


@pytest.fixture
def window(runtime: Path, screen: Screen) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("view"),
        cwd=REPOSITORY,
        env=environment(runtime) | {"DISPLAY": screen.display},
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def framed_in_green(screen: Screen) -> int:
    return int((np.abs(screen.picture().astype(int) - GREEN) < 40).all(2).sum())


def test_the_window_shows_frames_and_what_is_read_until_q(
    runtime: Path, window: subprocess.Popen[str], screen: Screen
) -> None:
    with service("capture", runtime), service("recognizer", runtime):
        wait_for(lambda: framed_in_green(screen) > 200, what="a green frame around a code")
        assert window.poll() is None, window.communicate()
    number = screen.window(TITLE)
    screen.do("windowfocus", "--sync", number, "key", "q")
    assert window.wait(PATIENCE_S) == 0


def test_closing_the_window_ends_it_also_before_there_is_a_frame(
    window: subprocess.Popen[str], screen: Screen
) -> None:
    screen.close(int(screen.window(TITLE)))
    assert window.wait(PATIENCE_S) == 0, window.communicate()


def test_closing_the_window_while_it_shows_frames_ends_it(
    runtime: Path, window: subprocess.Popen[str], screen: Screen
) -> None:
    with service("capture", runtime):
        wait_for(lambda: (screen.picture() > 0).mean() > 0.2, what="a frame")
        screen.close(int(screen.window(TITLE)))
        assert window.wait(PATIENCE_S) == 0, window.communicate()
