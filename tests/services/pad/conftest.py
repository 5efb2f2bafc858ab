"""A running pad with its recognizer, shared by the tests of a module; each begins with an empty canvas."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import zmq

from messages.command import Command, Result
from messages.pad import BRUSH, PadResult
from messages.pad_commands import PadAutomatic, PadBrush, PadErase, PadRecognize, PadSave, PadStrokes
from messages.rpc.clients import CommandClient
from tests.conftest import PATIENCE_S
from tests.services.overlay.conftest import Overlay
from tests.services.processes import Onlooker, service

AnyResult = TypeVar("AnyResult", bound=Result)
Context = zmq.Context[zmq.Socket[bytes]]


@dataclass
class Pad:
    """A pad, asked over the bus as any program would."""

    runtime: Path
    context: Context
    onlooker: Onlooker

    def ask(self, command: Command, deadline_s: float = PATIENCE_S) -> dict[str, object]:
        """What it answers; the test fails where it refuses."""
        reply = self.onlooker.commands.send(command, deadline_s)
        assert reply.error is None, reply.error
        assert reply.data is not None
        return reply.data

    def result(self, command: Command, expected: type[AnyResult]) -> AnyResult:
        return expected.model_validate(self.ask(command))

    def refusal(self, command: Command) -> str:
        """The code with which it refuses."""
        reply = self.onlooker.commands.send(command, 10.0)
        assert reply.error is not None, reply.data
        assert reply.error.message
        return reply.error.code

    def strokes(self) -> list[tuple[tuple[float, float], ...]]:
        """What is on the canvas."""
        return [stroke.points for stroke in self.result(PadSave(), PadStrokes).strokes]

    def read(self) -> str:
        """What stands in the boxes."""
        return str(self.ask(PadRecognize())["text"])

    def new_client(self) -> CommandClient:
        return CommandClient(self.context, self.runtime / "run")

    def wait_reading(self, text: str) -> PadResult:
        """Until it is read so while nobody asks."""

        def newest() -> list[PadResult]:
            last: list[PadResult] = self.onlooker.of("pad.reading")[-1:]
            return [result for result in last if result.text == text and not result.problem]

        return self.onlooker.wait(newest, f"{text}")[0]


@pytest.fixture(scope="module")
def running_pad() -> Iterator[Pad]:
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    context: Context = zmq.Context()
    onlooker = Onlooker(context, folder)
    try:
        with service("recognizer", folder), service("pad", folder):
            onlooker.wait_state("pad", "ready")
            yield Pad(folder, context, onlooker)
    finally:
        context.destroy(linger=0)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pad(running_pad: Pad) -> Pad:
    """Empty, with the usual brush, reading by itself."""
    running_pad.ask(PadErase())
    running_pad.ask(PadBrush(radius=BRUSH))
    running_pad.ask(PadAutomatic(on=True))
    running_pad.onlooker.wait(
        lambda: [text.text for text in running_pad.onlooker.of("pad.reading")[-1:]] in ([], ["-----"])
    )
    running_pad.onlooker.heard.clear()
    return running_pad


@pytest.fixture(scope="module")
def served(running_pad: Pad) -> Iterator[Overlay]:
    """The page's server beside the pad."""
    overlay = Overlay(running_pad.runtime / "run", running_pad.runtime / "state").start()
    try:
        yield overlay.listening()
    finally:
        overlay.stop()


@pytest.fixture
def tabs(pad: Pad, served: Overlay, browser: Any) -> Iterator[Any]:
    """Opens the page in a browser of its own; none may complain."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(served.address)
        page.wait_for_selector("#pad-erase:enabled")
        page.locator("#pad-canvas").scroll_into_view_if_needed()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def on_page(page: Any, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Pad pixels as places on the screen."""
    frame = page.locator("#pad-canvas").bounding_box()
    scale = frame["width"] / 520
    return [(frame["x"] + (x + 0.5) * scale, frame["y"] + (y + 0.5) * scale) for x, y in points]


def wait_read(page: Any, text: str) -> None:
    """Until this stands beneath the boxes, of the canvas as it is."""
    for box, label in enumerate(text, 1):
        page.wait_for_selector(f".pad-box:nth-child({box}) .digit-label:text-is('{label}')")
    page.wait_for_selector("#pad-results[data-fresh=true]")
