"""A hand at the page's pad: pen, mouse and one finger draw every point; a palm draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.services.pad.conftest import Pad, on_page, wait_read

PHONE = {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 800}}
FINGER, PALM = 11, 45
"""Radii of contacts in CSS pixels."""
PATH = [(60 + (step % 7), 60 + 2 * step) for step in range(40)]
PALM_AT = (300, 180)

Place = tuple[float, float]


class Glass:
    """Touches and a pen, at pad pixels."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)
        self._down: dict[int, tuple[Place, int]] = {}

    def touch(self, finger: int, place: Place, radius: int = FINGER) -> None:
        """Set a finger down, or move it."""
        kind = "touchMove" if finger in self._down else "touchStart"
        self._down[finger] = (place, radius)
        self._send(kind)

    def lift(self, finger: int) -> None:
        del self._down[finger]
        self._send("touchEnd")

    def cancel(self) -> None:
        """As the system does that has found a gesture, or a palm."""
        self._down.clear()
        self._send("touchCancel")

    def pen(self, kind: str, place: Place) -> None:
        [(x, y)] = on_page(self._page, [place])
        button = {} if kind == "mouseMoved" and not self._pressed else {"button": "left", "buttons": 1}
        self._session.send(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": x, "y": y, "pointerType": "pen", "clickCount": 1, **button},
        )

    _pressed = False

    def pen_path(self, path: Sequence[Place]) -> None:
        self._pressed = True
        self.pen("mousePressed", path[0])
        for place in path[1:]:
            self.pen("mouseMoved", place)
        self._pressed = False
        self.pen("mouseReleased", path[-1])

    def _send(self, kind: str) -> None:
        points = []
        for finger, (place, radius) in self._down.items():
            [(x, y)] = on_page(self._page, [place])
            points.append({"x": x, "y": y, "id": finger, "radiusX": radius, "radiusY": radius, "force": 0.5})
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def settled(pad: Pad, page: Any, count: int) -> list[tuple[Place, ...]]:
    """The strokes, once the page has nothing more to send: a stroke drawn after all others is there."""
    marker = (500.0, 20.0)
    [(x, y)] = on_page(page, [marker])
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.up()
    wait_for(lambda: any(stroke[0] == pytest.approx(marker, abs=1.5) for stroke in pad.strokes()))
    strokes = [stroke for stroke in pad.strokes() if stroke[0] != pytest.approx(marker, abs=1.5)]
    assert len(strokes) == count, strokes
    return strokes


def passes(stroke: Sequence[Place], path: Sequence[Place]) -> bool:
    """Whether the stroke goes through every place of the path."""
    return all(any(abs(x - a) < 1.6 and abs(y - b) < 1.6 for a, b in stroke) for x, y in path)


def test_one_finger_draws_every_point_from_where_it_was_set_down(pad: Pad, tabs: Any) -> None:
    page = tabs(**PHONE)
    glass = Glass(page)
    for place in PATH:
        glass.touch(1, place)
    glass.lift(1)
    wait_read(page, "1----")
    [stroke] = settled(pad, page, 1)
    assert passes(stroke, PATH)


def test_a_tap_of_one_finger_draws_a_dot(pad: Pad, tabs: Any) -> None:
    page = tabs(**PHONE)
    glass = Glass(page)
    glass.touch(1, (60, 100))
    glass.lift(1)
    [stroke] = settled(pad, page, 1)
    assert passes(stroke, [(60, 100)])


def test_a_pen_draws_every_point_and_the_palm_beside_it_nothing(pad: Pad, tabs: Any) -> None:
    page = tabs(**PHONE)
    glass = Glass(page)
    for x in range(300, 340, 8):  # it comes down first, small, and even slides
        glass.touch(1, (x, 180))
    wait_for(lambda: len(pad.strokes()) == 1)
    glass.pen_path(PATH)
    glass.touch(2, (340, 150))  # another part of it
    glass.touch(2, (380, 150))
    glass.pen_path([(x + 100, y) for x, y in PATH])
    glass.lift(2)
    glass.lift(1)
    strokes = settled(pad, page, 2)
    assert passes(strokes[0], PATH)
    assert passes(strokes[1], [(x + 100, y) for x, y in PATH])


@pytest.mark.parametrize("radius", [FINGER, PALM])
def test_a_resting_palm_draws_nothing_while_a_finger_draws(pad: Pad, tabs: Any, radius: int) -> None:
    page = tabs(**PHONE)
    glass = Glass(page)
    glass.touch(1, PALM_AT, radius)
    for step, place in enumerate(PATH):
        glass.touch(2, place)
        glass.touch(1, (PALM_AT[0] + step % 3, PALM_AT[1] - step % 2), radius)
    glass.lift(2)
    glass.lift(1)
    [stroke] = settled(pad, page, 1)
    assert passes(stroke, PATH)


def test_a_palm_alone_draws_nothing_though_it_slides(pad: Pad, tabs: Any) -> None:
    page = tabs(**PHONE)
    glass = Glass(page)
    glass.touch(1, PALM_AT)
    for step in range(1, 20):  # its contact grows as the hand comes down
        glass.touch(1, (PALM_AT[0] + 5 * step, PALM_AT[1]), PALM)
    glass.lift(1)
    settled(pad, page, 0)


def test_a_cancelled_touch_leaves_nothing(pad: Pad, tabs: Any) -> None:
    page = tabs(**PHONE)
    glass = Glass(page)
    for place in PATH[:20]:
        glass.touch(1, place)
    wait_for(lambda: len(pad.strokes()) == 1, what="the stroke while it is drawn")
    glass.cancel()
    wait_for(lambda: pad.strokes() == [])
    for place in PATH:
        glass.touch(1, place)
    glass.lift(1)
    [stroke] = settled(pad, page, 1)
    assert passes(stroke, PATH)


def test_a_long_touch_that_is_cancelled_leaves_none_of_its_strokes(pad: Pad, tabs: Any) -> None:
    page = tabs(**PHONE)
    page.evaluate("addEventListener('pointerdown', ({ pointerId }) => (window.touching = pointerId))")
    glass = Glass(page)
    glass.touch(1, (12, 60))
    glass.touch(1, (60, 60))
    page.evaluate(
        """places => {
          const canvas = document.getElementById("pad-canvas");
          const { left, top, width } = canvas.getBoundingClientRect();
          const pointerId = window.touching;
          for (const [x, y] of places) {
            const [clientX, clientY] = [left + (x * width) / 520, top + (y * width) / 520];
            canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, pointerId }));
          }
        }""",
        [(12 + step % 490, 60 + (step // 490) * 20 + step % 3) for step in range(1100)],
    )
    wait_for(lambda: sum(len(stroke) for stroke in pad.strokes()) > 1000)
    glass.cancel()
    wait_for(lambda: pad.strokes() == [])


@pytest.mark.parametrize("width", [280, 320, 390])
def test_the_page_never_overflows_a_phone(pad: Pad, tabs: Any, width: int) -> None:
    page = tabs(**PHONE | {"viewport": {"width": width, "height": 800}})
    page.locator("#pad-show").click()
    page.wait_for_selector("#pad-crops:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
