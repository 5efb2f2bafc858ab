"""Models on the page: a real overlay, a real browser, a real updater."""

from __future__ import annotations

from typing import Any

import pytest

from messages.model_commands import ModelImport, ModelPin
from messages.pad_commands import PadErase, PadWrite
from tests.conftest import PATIENCE_S, wait_for
from tests.services.updater.conftest import Car
from tests.services.updater.test_service import COURSE


@pytest.fixture
def page(car: Car, browser: Any) -> Any:
    """The page, open, with the list of models on it."""
    car.start("overlay", OVERLAY__PORT="0")
    address_file = car.runtime / "run" / "overlay" / "address"
    wait_for(address_file.exists, what="the page's address")
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    opened = context.new_page()
    opened.goto(address_file.read_text().split()[0])
    opened.wait_for_selector(".model", timeout=PATIENCE_S * 1000)
    wait_for(lambda: opened.locator("#models-file").is_enabled(), what="the panel to be ready")
    yield opened
    context.close()


def test_a_model_is_handed_over_and_taken_back_with_one_click(page: Any, car: Car) -> None:
    shipped = car.state.active
    page.set_input_files("#models-file", COURSE)
    page.wait_for_selector('.models-change[data-step="active"]', timeout=PATIENCE_S * 1000)
    taken = car.end(COURSE.name).model
    assert taken is not None
    car.reads_with(taken.digest)
    wait_for(lambda: page.locator(".model h3").all_inner_texts()[0] == f"{taken.name} {taken.version}")
    assert page.locator('.model[data-state="ready"] .pill').inner_text() == "active"

    wait_for(lambda: page.locator("#models-back").is_enabled())
    page.click("#models-back")
    car.reads_with(shipped.digest)
    wait_for(lambda: "pinned" in page.locator("#models-state").inner_text())
    wait_for(lambda: page.locator("#models-history li").count() == 2, what="both changes in the history")


def test_why_a_file_was_not_taken_is_said(page: Any, car: Car) -> None:
    page.set_input_files(
        "#models-file", {"name": "text.h5", "mimeType": "", "buffer": b"no model at all\n" * 40}
    )
    page.wait_for_selector('.models-change[data-step="refused"]', timeout=PATIENCE_S * 1000)
    assert "text.h5: not taken" in page.locator("#models-change").inner_text()
    assert page.locator("#models-sentence").inner_text() == car.end("text.h5").sentence


def test_a_model_as_large_as_the_courses_own_is_handed_over_in_parts(page: Any, car: Car) -> None:
    content = COURSE.read_bytes() + bytes(5_000_001)
    page.set_input_files("#models-file", {"name": "large.h5", "mimeType": "", "buffer": content})
    assert car.end("large.h5").reason in ("", "damaged"), "it came whole: what HDF5 says of its end aside"
    assert {each.step for each in car.steps("large.h5")} >= {"received", "checked"}


def test_another_model_reads_the_same_strokes_beside_the_active_one(page: Any, car: Car) -> None:
    car.start("pad")
    car.ask(ModelImport(name=COURSE.name, content=COURSE.read_bytes(), activate=False))
    kept = car.end(COURSE.name).model
    assert kept is not None
    button = page.get_by_role("button", name=f"Have {kept.name} {kept.version} read the pad beside")
    button.click()
    car.ask(PadWrite(digits="06-34", seed=3))
    boxes = page.locator(".pad-box")
    wait_for(lambda: boxes.nth(2).locator(".digit-beside").inner_text() == "-", what="the other's reading")
    said = page.locator("#pad-beside-words").inner_text
    wait_for(lambda: said().startswith(f"{kept.name} {kept.version} reads ") and "-" in said())
    labels = boxes.locator(".digit-label").all_inner_texts
    wait_for(lambda: labels() == list("06-34"), what="the active model's reading, before the other's")

    car.ask(PadErase())  # what changes is read by both, too
    wait_for(lambda: said().endswith("-----"), what="its reading of the new strokes")
    assert car.state.active.digest != kept.digest
    button.click()
    assert page.locator(".digit-beside:visible").count() == 0
    assert button.get_attribute("aria-pressed") == "false"


def test_what_is_offered_is_shown_with_why_not_and_taken_with_one_click(page: Any, car: Car) -> None:
    from services.config import Mqtt
    from tests.services.bridge.kit import Mosquitto, find_mosquitto
    from tools.publish.mqtt_client import MqttClient
    from tools.publish.publication import Publication, look
    from tools.publish.signing import release_of

    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(car.runtime)
    broker.start()
    car.settings |= {
        "MODELS__FOLLOW": '["lab"]',
        "MQTT__HOST": "127.0.0.1",
        "MQTT__PORT": str(broker.port),
    }
    car.start_again("updater")
    car.start("bridge")
    car.ask(ModelPin())
    bundle = release_of(car.bundle("lab"), car.key, release=2)
    with MqttClient.open([Mqtt(host="127.0.0.1", port=broker.port)]) as client:
        Publication(bundle).put(client, look(client, "lab"))
        offer = page.locator('#models-offers li[data-reason="pinned"]')
        offer.wait_for(timeout=PATIENCE_S * 1000)
        assert f"lab {bundle.manifest.version}, release 2" in offer.inner_text()
        offer.locator("button").click()
        car.reads_with(bundle.digest)
        wait_for(lambda: page.locator("#models-offers li").count() == 0, what="the offer to go")
    broker.stop()
