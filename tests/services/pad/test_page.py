"""The pad on the page, used as people use it: mouse, fingers, keyboard, several browsers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from messages.pad_commands import PadStrokeCommand, PadUndo, PadWrite
from services.pad.writing import written
from tests.conftest import wait_for
from tests.services.pad.conftest import Pad, on_page, wait_read

DRAWN = written("06234", seed=3)[1]
CROSSED = ((425, 65), (490, 135), (490, 65), (425, 135), (425, 65), (490, 65), (490, 135), (425, 135))


def draw(page: Any, strokes: Sequence[Sequence[tuple[float, float]]]) -> None:
    """With the mouse."""
    for stroke in strokes:
        places = on_page(page, stroke)
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1::4]:
            page.mouse.move(*place)
        page.mouse.move(*places[-1])
        page.mouse.up()


class Fingers:
    """Fingers on the glass, at pad pixels."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)

    def touch(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(on_page(self._page, places))]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def dark_pixels(page: Any, box: int) -> int:
    """How much ink the browser shows in a box, 0 to 4."""
    count: int = page.evaluate(
        """box => {
          const canvas = document.getElementById("pad-canvas"), scale = canvas.width / 520;
          const from = [(11 + 100 * box) * scale, 51 * scale, 98 * scale, 98 * scale];
          const data = canvas.getContext("2d").getImageData(...from).data;
          let dark = 0;
          for (let place = 0; place < data.length; place += 4) dark += data[place] + data[place + 1] < 100;
          return dark;
        }""",
        box,
    )
    return count


def test_what_the_mouse_draws_is_read_beneath_the_boxes(pad: Pad, tabs: Any) -> None:
    page = tabs()
    draw(page, DRAWN)
    wait_read(page, "06234")
    first = page.locator(".pad-box").first
    assert first.locator(".digit-share").inner_text().endswith("%")
    assert first.locator(".digit-other").inner_text().startswith("or ")
    assert len(pad.strokes()) == len(DRAWN)


def test_a_page_that_is_opened_later_shows_it_all(pad: Pad, tabs: Any) -> None:
    pad.ask(PadWrite(digits="06-34", seed=3))
    page = tabs()
    wait_read(page, "06-34")
    wait_for(lambda: dark_pixels(page, 0) > 500)
    assert dark_pixels(page, 2) == 0


def test_two_browsers_and_a_program_draw_together_and_each_sees_all(pad: Pad, tabs: Any) -> None:
    one, other = tabs(), tabs()
    places = on_page(one, [(25, 65), (30, 135)])
    one.mouse.move(*places[0])
    one.mouse.down()  # a stroke that is still being drawn …
    one.mouse.move(*places[1], steps=8)
    wait_for(lambda: dark_pixels(other, 0) > 100, what="the other to see it already")
    draw(other, [[(160, 65), (160, 135)]])
    pad.ask(PadStrokeCommand(points=((260, 65), (260, 135))))
    one.mouse.move(*on_page(one, [(35, 140)])[0])
    one.mouse.up()
    for page in (one, other):
        for box in range(3):
            wait_for(lambda page=page, box=box: dark_pixels(page, box) > 100)  # type: ignore[misc]
    pad.wait_reading("111--")
    assert len(pad.strokes()) == 3


def test_two_fingers_draw_two_strokes(pad: Pad, tabs: Any) -> None:
    page = tabs(has_touch=True, is_mobile=True, viewport={"width": 700, "height": 800})
    top = page.evaluate("scrollY")
    fingers = Fingers(page)
    fingers.touch("touchStart", (60, 60), (160, 60))
    for y in range(65, 145, 8):
        fingers.touch("touchMove", (60, y), (160, y))
    fingers.touch("touchEnd")
    wait_read(page, "11---")
    assert sorted(stroke[0][0] for stroke in pad.strokes()) == pytest.approx([60, 160], abs=1)
    assert page.evaluate("scrollY") == top, "drawing must not scroll"


def test_a_stroke_ends_where_it_leaves_the_canvas_and_another_begins_where_it_returns(
    pad: Pad, tabs: Any
) -> None:
    page = tabs()
    places = on_page(page, [(60, 100), (60, 195), (60, 230), (200, 230), (200, 190), (200, 100)])
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    wait_for(lambda: len(pad.strokes()) == 2)
    assert all(0 <= x < 520 and 0 <= y < 200 for stroke in pad.strokes() for x, y in stroke)


def test_keys_do_what_the_window_s_do(pad: Pad, tabs: Any) -> None:
    page = tabs()
    draw(page, DRAWN)
    wait_read(page, "06234")
    page.locator("#pad-canvas").focus()
    page.keyboard.press("2")
    wait_read(page, "0-234")
    page.keyboard.press("u")
    wait_read(page, "06234")
    page.keyboard.press("+")
    page.wait_for_selector("#pad-brush:text-is('5')")
    for _ in range(3):  # faster than the canvas comes
        page.keyboard.press("-")
    page.wait_for_selector("#pad-brush:text-is('2')")
    pad.onlooker.wait(lambda: [each.brush for each in pad.onlooker.of("pad.canvas")[-1:]] == [2])
    page.keyboard.press("a")
    page.wait_for_selector("#pad-automatic:not(:checked)")
    page.keyboard.press("e")
    wait_for(lambda: pad.strokes() == [])
    pad.ask(PadWrite(digits="7", seed=2))
    page.wait_for_selector("#pad-results[data-fresh=false]")
    page.keyboard.press("r")
    wait_read(page, "7----")
    page.wait_for_selector("#pad-outcome:text-is('Read: 7----')")
    page.keyboard.press("q")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_keys_are_left_alone_outside_the_pad_and_in_its_text_field(pad: Pad, tabs: Any) -> None:
    pad.ask(PadWrite(digits="1", seed=3))
    page = tabs()
    wait_read(page, "1----")
    page.keyboard.press("e")  # nothing has the focus
    page.locator("#pad-digits").focus()
    page.keyboard.type("e1")
    assert page.locator("#pad-digits").input_value() == "e1"
    assert pad.read() == "1----"


def test_the_keyboard_alone_is_enough_and_a_screen_reader_hears_it(pad: Pad, tabs: Any) -> None:
    page = tabs()
    page.locator("#pad-digits").focus()
    page.keyboard.type("306")
    page.keyboard.press("Enter")
    wait_read(page, "306--")
    page.wait_for_selector("#pad-announcer:text-is('Read: 3, 0, 6, empty, empty.')", state="attached")
    text = page.locator("#pad-canvas").get_attribute("aria-label")
    assert "Read: box 1 3, box 2 0, box 3 6, box 4 empty, box 5 empty." in text
    for _ in range(40):  # each tool can be reached
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "pad-erase":
            break
    page.keyboard.press("Enter")
    wait_read(page, "-----")
    names = [button.get_attribute("aria-label") for button in page.locator(".pad-box button").all()]
    assert names == [f"Erase box {box}" for box in range(1, 6)]


def test_the_page_shows_what_the_model_sees(pad: Pad, tabs: Any) -> None:
    pad.ask(PadWrite(digits="06-3", seed=3))
    pad.ask(PadStrokeCommand(points=CROSSED))
    page = tabs()
    wait_read(page, "06-3?")
    page.locator("#pad-canvas").focus()
    page.keyboard.press("s")
    page.wait_for_selector("#pad-crops:not([hidden])")
    titles = page.locator(".crop h4").all_inner_texts()
    assert titles[0].startswith("Box 1: 0, ")
    assert titles[2] == "Box 3: empty"
    assert titles[4] == "Box 5: doubtful"
    assert page.locator(".crop").nth(0).locator("li").count() == 10
    assert page.locator(".crop").nth(2).locator("li:visible").count() == 0
    bright = page.evaluate(
        """() => [...document.querySelectorAll(".crop canvas")].map((canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
          return data.filter((value, at) => at % 4 === 0 && value > 128).length;
        })"""
    )
    assert bright[2] == 0
    assert all(count > 20 for box, count in enumerate(bright) if box != 2)
    page.keyboard.press("Escape")
    page.wait_for_selector("#pad-crops", state="hidden")
    assert page.evaluate("document.activeElement.id") == "pad-canvas"


def test_a_box_is_erased_with_its_button_and_others_keep_their_strokes(pad: Pad, tabs: Any) -> None:
    pad.ask(PadWrite(digits="06234", seed=3))
    page = tabs()
    wait_read(page, "06234")
    page.get_by_label("Erase box 4").click()
    wait_read(page, "062-4")
    wait_for(lambda: dark_pixels(page, 3) == 0)
    assert dark_pixels(page, 4) > 500


def test_what_the_pad_refuses_is_said_in_its_words(pad: Pad, tabs: Any) -> None:
    page = tabs()
    page.locator("#pad-undo").click()
    page.wait_for_selector("#pad-outcome[data-state=failed] >> text=nothing of page")
    page.locator("#pad-digits").fill("12a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pad-outcome[data-state=failed] >> text=up to five digits")


def test_a_stroke_that_is_erased_by_others_while_it_is_drawn_is_over(pad: Pad, tabs: Any) -> None:
    page = tabs()
    places = on_page(page, [(60, 60), (60, 100), (60, 140)])
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    wait_for(lambda: len(pad.strokes()) == 1)
    pad.ask(PadUndo())
    page.mouse.move(*places[2], steps=4)
    page.mouse.up()
    wait_for(lambda: dark_pixels(page, 0) == 0)
    draw(page, [[(260, 65), (260, 135)]])
    wait_read(page, "--1--")


def test_more_is_drawn_than_one_stroke_may_hold(pad: Pad, tabs: Any) -> None:
    page = tabs()
    path = [(12 + step % 490, 60 + (step // 490) * 20 + step % 3) for step in range(1100)]
    places = on_page(page, path)
    page.mouse.move(*places[0])
    page.mouse.down()
    page.evaluate(  # as a fast mouse would, but in no time
        """places => {
          const canvas = document.getElementById("pad-canvas");
          for (const [clientX, clientY] of places) {
            canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, pointerId: 1 }));
          }
        }""",
        places[1:],
    )
    page.mouse.move(*places[-1])
    page.mouse.up()
    last = path[-1]
    wait_for(lambda: pad.strokes() and pad.strokes()[-1][-1] == pytest.approx(last, abs=1))
    assert sum(len(stroke) for stroke in pad.strokes()) > 1000
    assert page.locator("#pad-outcome").inner_text() == ""
