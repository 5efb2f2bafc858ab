"""The page in a real browser: what a person sees on it is what is the case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages.message import new_ulid
from tests.conftest import wait_for
from tests.services.overlay.conftest import Launch, Overlay
from tests.services.overlay.standin import HEIGHT, MODEL, PAPER_BGR, WIDTH, StandIn

FRESH = '#stage[data-freshness="fresh"]'
STALE = '#stage[data-freshness="stale"]'
PHONE = {"width": 390, "height": 844}

_TEXTS = "all => all.map(each => each.innerText)"
"""Read in one go, since the page draws each reading anew."""


@pytest.fixture
def overlay(shared_overlay: Overlay) -> Overlay:
    return shared_overlay


@pytest.fixture
def car(shared_car: StandIn) -> Iterator[StandIn]:
    yield shared_car
    shared_car.sending = shared_car.reading = True
    shared_car.states["capture"] = ("ready", "")
    shared_car.commands.clear()


def text(page: Any, selector: str) -> str:
    """What stands there, as it is displayed."""
    return str(page.inner_text(selector))


def pixel(page: Any, x: int, y: int) -> list[int]:
    """Red, green, blue of a pixel of the picture shown."""
    script = "([x, y]) => [...picture.getContext('2d').getImageData(x, y, 1, 1).data]"
    return list(page.evaluate(script, [x, y])[:3])


def is_paper(rgb: list[int]) -> bool:
    return all(abs(seen - drawn) < 14 for seen, drawn in zip(rgb, reversed(PAPER_BGR), strict=True))


def open_live(page: Any, overlay: Overlay) -> None:
    page.goto(overlay.address)
    page.wait_for_selector(FRESH)


def test_one_sees_the_picture_and_what_is_read_in_it(
    overlay: Overlay, car: StandIn, page: Any, tmp_path: Path
) -> None:
    open_live(page, overlay)
    assert page.url == f"http://127.0.0.1:{overlay.port}/", "the token is not left in the address bar"
    page.wait_for_selector(".code")

    assert (page.evaluate("picture.width"), HEIGHT) == (WIDTH, 480)
    assert is_paper(pixel(page, 60, 100)), "the paper card is where the camera saw it"
    assert not is_paper(pixel(page, 10, 10))

    codes = page.eval_on_selector_all(".code", "all => all.map(each => each.dataset.text)")
    assert codes == ["06234", "918"]
    digits = page.eval_on_selector_all(".code:first-child .digit-label", _TEXTS)
    shares = page.eval_on_selector_all(".code:first-child .digit-share", _TEXTS)
    assert digits == ["0", "6", "2", "3", "4"]
    assert shares == ["99 %", "97 %", "93 %", "99 %", "81 %"], "99.9 % is not called certain"
    assert "or 7" in text(page, ".code:first-child"), "a doubtful digit names the runner-up"
    assert text(page, "#fact-model") == f"{MODEL.name} {MODEL.version}"
    assert re.fullmatch(r"\d+ ms old", text(page, "#fact-age"))
    wait_for(lambda: "pictures/s" in text(page, "#fact-shown"))
    assert text(page, "#car") == "testcar"
    page.screenshot(path=tmp_path / "desktop.png", full_page=True)


def test_boxes_lie_over_the_digits(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    page.wait_for_selector(".mark")
    stage = page.locator("#stage").bounding_box()
    scale = stage["width"] / WIDTH
    # At once, for they are drawn anew with every picture.
    boxes = page.evaluate(
        "[...document.querySelectorAll('.mark-digit')].map((one) => one.getBoundingClientRect())"
    )
    assert len(boxes) == 8
    first = boxes[0]
    assert first["x"] - stage["x"] == pytest.approx(70 * scale, abs=3)
    assert first["y"] - stage["y"] == pytest.approx(120 * scale, abs=3)
    words = page.evaluate("[...document.querySelectorAll('.mark-words')].map((one) => one.textContent)")
    assert words == ["06234  81 %", "918  62 %"]


def test_a_picture_that_grows_old_is_never_shown_as_fresh(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    page.wait_for_selector(".code")
    car.sending = False
    car.states["capture"] = ("degraded", "The camera was pulled out; plug it in")
    page.wait_for_selector(STALE)
    assert text(page, "#age-badge").startswith("stale")
    assert page.locator(".code").count() == 0, "old readings are not offered as news"
    page.wait_for_selector("#stage-note >> text=The camera was pulled out; plug it in")
    wait_for(lambda: re.fullmatch(r"[2-9]\.\d s old", text(page, "#fact-age")))
    car.sending = True
    car.states["capture"] = ("ready", "")
    page.wait_for_selector(FRESH)
    page.wait_for_selector(".code")


def test_a_page_opened_while_nothing_comes_says_why(overlay: Overlay, car: StandIn, page: Any) -> None:
    car.sending = False
    car.states["capture"] = ("degraded", "the file /srv/a.mp4 does not exist; set capture.source")
    wait_for(lambda: overlay.status()["capture"]["state"] == "degraded")
    page.goto(overlay.address)
    page.wait_for_selector("#stage-note >> text=The file /srv/a.mp4 does not exist; set capture.source")
    page.wait_for_selector(FRESH, state="detached")


def test_one_sees_that_nobody_reads(overlay: Overlay, car: StandIn, page: Any) -> None:
    car.reading = False
    open_live(page, overlay)
    page.wait_for_selector("#codes-note >> text=This picture has not been read.")
    assert is_paper(pixel(page, 60, 100)), "the picture is shown all the same"


def test_events_come_go_and_are_still_there_after_a_reload(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    old = car.event("11", seen_s=70)
    page.wait_for_selector(".event >> text=11")
    event_id = car.event("06284", seen_s=3)
    row = page.locator(".event").first
    page.wait_for_selector("#announcer:text('New code 0 6 2 8 4, 97 % sure.')", state="attached")
    assert "in view" in row.inner_text()
    car.event("06234", "update", event_id, seen_s=4)
    page.wait_for_selector("#announcer:text('Corrected to 0 6 2 3 4.')", state="attached")
    assert "also read as 06284" in row.inner_text()
    car.event("06234", "end", event_id, seen_s=9, reason="gone")
    car.event("11", "end", old, seen_s=75, reason="interrupted")
    wait_for(lambda: "left" in row.inner_text() and "seen for 9 s" in row.inner_text())
    page.reload()
    page.wait_for_selector(".event >> text=06234")
    listed = page.locator(".event").all_inner_texts()
    assert "06234" in listed[0]
    assert "interrupted" in listed[1]
    assert "seen for 1 min 15 s" in listed[1]
    assert text(page, "#announcer") == "", "what was there before is not announced as news"


def test_the_latest_events_come_from_the_journal_after_a_restart(
    launch: Launch, runtime: Path, tmp_path: Path, page: Any
) -> None:
    car = StandIn(runtime, tmp_path / "state")
    car.start()
    try:
        event_id = car.event("4471")
        car.event("4477", "end", event_id, reason="gone")
        journal = tmp_path / "state" / "recognizer" / "journal.sqlite3"
        wait_for(lambda: journal.exists() and not car.waiting)
        overlay = launch().listening()
        page.goto(overlay.address)
        page.wait_for_selector(".event >> text=4477")
        assert page.locator(".event").count() == 1
        assert "also read as 4471" in text(page, ".event")
    finally:
        car.finish()


def test_the_camera_is_paused_and_resumed_by_a_button(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("#outcome >> text=The camera is paused.")
    page.wait_for_selector(STALE)
    page.get_by_role("button", name="Resume").click()
    page.wait_for_selector(FRESH)
    assert car.commands == ["pause", "resume"]


def test_the_source_is_chosen_by_its_name(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    page.get_by_label("Source", exact=True).select_option("kitchen")
    page.get_by_role("button", name="Switch").click()
    page.wait_for_selector("#source >> text=folder:kitchen")
    assert car.commands == ["source kitchen"]


def test_each_service_says_how_it_is(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    card = page.locator(".service", has_text="Reads digits in the newest frame")
    assert "ready" in card.inner_text()
    car.beating.remove("recognizer")
    try:
        wait_for(lambda: "silent" in card.inner_text())
        assert "has not been heard from" in card.inner_text()
        assert "recognizer" in text(page, "#summary")
        assert "need attention" in text(page, "#summary"), "the bridge does not run here either"
    finally:
        car.beating.add("recognizer")
    wait_for(lambda: "ready" in card.inner_text())


def test_the_car_at_a_glance(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    card = page.locator(".service", has_text="Reads digits in the newest frame")
    assert "Processor\n7 %" in card.inner_text()
    assert "Restarts\n2" in card.inner_text()
    wait_for(lambda: "Model\ndigits 0.1.0" in text(page, "#glance"))
    assert "Broker\nnone" in text(page, "#glance"), "no bridge runs here"


def test_a_lost_connection_is_said_and_comes_back_by_itself(
    launch: Launch, runtime: Path, tmp_path: Path, page: Any
) -> None:
    car = StandIn(runtime, tmp_path / "state")
    car.start()
    try:
        first = launch().listening()
        port = first.port
        open_live(page, first)
        first.stop()
        page.wait_for_selector("#trouble >> text=does not answer")
        page.wait_for_selector(STALE)
        assert text(page, "#connection") == "not connected"
        assert set(page.locator(".service .pill").all_inner_texts()) == {"unknown"}
        assert page.get_by_role("button", name="Pause").is_disabled()
        page.complaints.clear()  # the browser's own words on the refused connection
        launch(OVERLAY__PORT=str(port)).listening()
        page.wait_for_selector(FRESH)
        assert text(page, "#connection") == "connected"
        assert not page.locator("#trouble").is_visible()
    finally:
        car.finish()


def test_without_the_token_a_browser_sees_where_to_find_it(overlay: Overlay, page: Any) -> None:
    answer = page.goto(f"http://127.0.0.1:{overlay.port}/")
    assert answer.status == 401
    assert "smartcar status" in text(page, "body")


def test_a_hidden_page_asks_for_nothing(overlay: Overlay, car: StandIn, page: Any) -> None:
    """Headless browsers never hide a page, so the browser's word for it is put in its mouth."""
    open_live(page, overlay)
    wait_for(lambda: overlay.pictures_per_second() > 0)
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { value: true, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    wait_for(lambda: overlay.pictures_per_second() == 0)
    before, frames = overlay.pictures(), car.frames
    wait_for(lambda: car.frames > frames + 45)
    assert overlay.pictures() == before
    page.evaluate(
        """() => {
            delete document.hidden;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_selector(FRESH)


def test_what_a_code_says_is_text_and_never_markup(overlay: Overlay, car: StandIn, page: Any) -> None:
    car.states["capture"] = ("degraded", "<img src=x onerror=document.title='owned'><b>bold</b>")
    open_live(page, overlay)
    page.wait_for_selector(".service .reason >> text=<b>bold</b>")
    assert page.title() == "testcar – smartcar"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(overlay: Overlay, car: StandIn, browser: Any, tmp_path: Path, scheme: str) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=scheme, is_mobile=True, has_touch=True)
    page = context.new_page()
    try:
        car.event("1234567890" * 4, event_id=new_ulid())
        open_live(page, overlay)
        page.wait_for_selector(".event")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        small = [
            button.inner_text()
            for button in page.get_by_role("button").all()
            if button.bounding_box()["height"] < 40
        ]
        assert small == [], "a thumb needs room"
        page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)
    finally:
        context.close()


def test_it_can_be_used_by_keyboard_and_ear(overlay: Overlay, car: StandIn, page: Any) -> None:
    open_live(page, overlay)
    for role, name in [
        ("banner", None), ("main", None), ("region", "Live view"),
        ("region", "Latest events"), ("region", "Services"),
    ]:  # fmt: skip
        assert page.get_by_role(role, name=name).count() == 1, f"{role} {name or ''}"
    page.wait_for_selector(".code")
    wait_for(lambda: page.get_by_role("img", name="06234").count() == 1, what="the picture in words")
    assert page.locator("[aria-live=polite]").count() >= 1
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[0] == "skip"
    assert {"pause", "source-name", "switch", "events"} <= set(reached)
    width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert width >= 2, "one sees where one is"
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => one.tagName)")
    assert headings[:4] == ["H1", "H2", "H2", "H2"]


def test_nothing_is_fetched_from_elsewhere(overlay: Overlay, car: StandIn, page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_live(page, overlay)
    page.wait_for_selector(".code")
    assert asked
    assert [url for url in asked if not url.startswith((f"{overlay.origin}/", "blob:"))] == []
