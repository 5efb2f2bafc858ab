"""`smartcar pad window`: a real window on a virtual screen, a real mouse, real keys."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from messages.pad import inside
from messages.pad_commands import PadStrokeCommand, PadWrite
from services.pad.writing import written
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.pad.conftest import Pad, pad, running_pad
from tests.services.processes import environment, service
from tests.tools.car import command, smartcar
from tests.tools.pad.virtual_screen import Screen, screen

__all__ = ["pad", "running_pad", "screen"]  # fixtures

TITLE, SHOW_TITLE = "smartcar pad", "what the model sees"


@dataclass
class Window:
    """The pad's window, and a hand at it."""

    screen: Screen
    process: subprocess.Popen[str]
    number: str = ""
    x: int = 0
    y: int = 0

    def find(self) -> None:
        """Where it is now: Qt moves a new window, and may make it anew."""
        assert self.process.poll() is None, self.process.communicate()
        self.number = self.screen.window(TITLE)
        self.x, self.y = self.screen.corner(self.number)

    def is_painted(self) -> bool:
        """Whether the canvas is there, paper and all."""
        self.find()
        return bool((self.canvas() > 200).all(2).sum() > 50_000)

    def draw(self, strokes: Sequence[Sequence[tuple[float, float]]]) -> None:
        for stroke in strokes:
            words: list[object] = []
            for place, (x, y) in enumerate(stroke):
                words += ["mousemove", round(self.x + x), round(self.y + y)]
                words += ["mousedown", 1] if place == 0 else ["sleep", 0.004]
            self.screen.do(*words, "sleep", 0.02, "mouseup", 1)
        self.screen.do("mousemove", self.x + 260, self.y + 300)  # its arrow is ink, too, on this screen

    def press(self, key: str) -> None:
        self.screen.do("windowfocus", "--sync", self.number, "key", key)

    def canvas(self) -> NDArray[np.uint8]:
        """The 200×520 pixels of the canvas as they stand on the screen."""
        return self.screen.picture()[self.y : self.y + 200, self.x : self.x + 520]

    def ink(self, box: int) -> int:
        """Black pixels in a box, 0 to 4."""
        area = inside(box)
        return int(
            (self.canvas()[area.y : area.y + area.height, area.x : area.x + area.width] < 60).all(2).sum()
        )

    def coloured(self, box: int) -> int:
        """Pixels of the result beneath a box."""
        area = inside(box)
        strip = self.canvas()[152:, area.x : area.x + area.width].astype(int)
        return int((strip.max(2) - strip.min(2) > 40).sum())


@pytest.fixture
def window(pad: Pad, screen: Screen) -> Iterator[Window]:
    with opened(pad.runtime, screen) as made:
        wait_for(lambda: (made.canvas() == (0, 0, 255)).all(2).sum() > 1000, what="the red frames")
        wait_for(lambda: made.ink(0) == 0)
        yield made


@contextmanager
def opened(runtime: Path, screen: Screen) -> Iterator[Window]:
    """The window, painted."""
    process = start(runtime, screen)
    try:
        made = Window(screen, process)
        wait_for(made.is_painted, what="paper in the window")
        yield made
    finally:
        end(process, screen)


def start(runtime: Path, screen: Screen) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("pad", "window"),
        cwd=REPOSITORY,
        env=environment(runtime) | {"DISPLAY": screen.display, "QT_LOGGING_RULES": "*=false"},
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], screen: Screen) -> None:
    """Leave no window behind that the next test would take for its own."""
    if process.poll() is None:
        process.kill()
    process.communicate()
    wait_for(lambda: not screen.do("search", "--name", f"^{TITLE}$"))


def test_what_the_mouse_draws_is_on_the_canvas_and_read(window: Window, pad: Pad) -> None:
    strokes = written("17", seed=2)[1]
    window.draw(strokes)
    pad.wait_reading("17---")
    assert len(pad.strokes()) == len(strokes)
    wait_for(
        lambda: window.coloured(0) > 100 and window.coloured(1) > 100, what="the results beneath the boxes"
    )
    assert window.ink(0) > 200
    assert window.ink(2) == 0


def test_others_strokes_appear_as_they_are_drawn(window: Window, pad: Pad) -> None:
    begun = PadStrokeCommand(phase="begin", stroke="s", points=((260, 60), (260, 90)))
    pad.ask(begun)
    wait_for(lambda: window.ink(2) > 100)
    half = window.ink(2)
    pad.ask(PadStrokeCommand(phase="extend", stroke="s", points=((260, 140),)))
    wait_for(lambda: window.ink(2) > half + 100)


def test_the_keys_are_the_courses_and_more(window: Window, pad: Pad) -> None:
    window.draw(written("1", seed=2)[1])
    pad.ask(PadWrite(digits="-234", seed=2, author="another"))
    pad.wait_reading("1234-")
    window.press("3")
    pad.wait_reading("12-4-")
    wait_for(lambda: window.ink(2) == 0)
    window.press("u")  # the erasing
    pad.wait_reading("1234-")
    window.press("u")  # the window's own stroke, not the other's writing
    pad.wait_reading("-234-")
    canvases = [lambda each: not each.automatic, lambda each: each.brush == 5, lambda each: each.brush == 4]
    for key, fits in zip(("a", "plus", "minus"), canvases, strict=True):
        window.press(key)
        pad.onlooker.wait(lambda fits=fits: any(map(fits, pad.onlooker.of("pad.canvas")[-1:])), key)  # type: ignore[misc]
    pad.onlooker.heard.clear()
    window.press("r")
    pad.onlooker.wait(lambda: [each.text for each in pad.onlooker.of("pad.result")] == ["-234-"])
    window.press("e")
    wait_for(lambda: pad.strokes() == [])
    wait_for(lambda: all(window.ink(box) == 0 for box in range(5)))
    window.press("q")
    assert window.process.wait(PATIENCE_S) == 0


def test_s_shows_what_the_model_sees(window: Window, pad: Pad, screen: Screen) -> None:
    pad.ask(PadWrite(digits="0-6", seed=2))
    pad.wait_reading("0-6--")
    window.press("s")
    number = screen.window(SHOW_TITLE)

    def crop(box: int) -> NDArray[np.uint8]:
        """The middle of an enlarged crop, wherever the window is by now."""
        x, y = screen.corner(number)
        left = x + 14 + 154 * box
        return screen.picture()[y + 40 : y + 170, left + 4 : left + 136]

    def is_painted() -> bool:
        written = [(crop(box) > 200).all(2).sum() > 500 for box in (0, 2)]
        return all(written) and bool((crop(1) == 0).all())

    wait_for(is_painted, what="two crops with a digit, one without between them")
    screen.do("windowclose", number)


def test_a_stroke_ends_at_the_edge_of_the_canvas(window: Window, pad: Pad) -> None:
    window.draw([[(60, 100), (60, 199), (60, 215), (300, 215), (300, 199), (300, 100)]])
    wait_for(lambda: len(pad.strokes()) == 2)
    assert all(0 <= x < 520 and 0 <= y < 200 for stroke in pad.strokes() for x, y in stroke)


def test_closing_the_window_ends_it(window: Window, screen: Screen) -> None:
    screen.close(int(window.number))
    assert window.process.wait(PATIENCE_S) == 0


def test_a_window_that_is_opened_before_the_pad_waits_for_it(runtime: Path, screen: Screen) -> None:
    with opened(runtime, screen) as made:

        def says_in_red() -> bool:
            foot = screen.picture()[made.y + 200 : made.y + 224, made.x : made.x + 520].astype(int)
            return bool((foot[:, :, 2] - foot[:, :, 0] > 100).sum() > 50)

        wait_for(says_in_red, what="that the pad is not running")
        with service("pad", runtime):
            wait_for(lambda: not says_in_red(), what="that the pad runs")
            made.draw([[(60, 60), (60, 140)]])
            wait_for(lambda: made.ink(0) > 100)
        assert made.process.poll() is None


@pytest.mark.parametrize("display", ["", ":4711"])
def test_without_a_screen_it_says_what_to_do(runtime: Path, display: str) -> None:
    answer = subprocess.run(
        command("pad", "window"),
        cwd=REPOSITORY,
        env={**environment(runtime), "DISPLAY": display, "WAYLAND_DISPLAY": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert "smartcar pad write" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_help_names_the_window(runtime: Path) -> None:
    assert "window" in smartcar(runtime, "pad", "--help").stdout
