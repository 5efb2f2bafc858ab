"""Another model takes over between two frames, and goes again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from messages.command import Command, Reply
from messages.recognizer_commands import (
    BoxReading,
    RecognizerAdopt,
    RecognizerDrop,
    RecognizerRead,
    RecognizerTry,
    TrialReport,
)
from messages.vision import Box, GreyImage, Reading
from models.bundle.bundle import Bundle
from models.importing import tflite
from models.importing.network import Activate, Dense, Network
from models.store import Store
from tests.models.making import FACTORY, rewritten
from tests.services.processes import Onlooker, service
from tests.services.recognizer.conftest import Camera

Context = zmq.Context[zmq.Socket[bytes]]
SHIPPED = Bundle.load(FACTORY).digest


class Recognizer:
    """The process, a store beside it, and frames one by one."""

    def __init__(self, runtime: Path, onlooker: Onlooker, camera: Camera) -> None:
        self.runtime, self.onlooker, self.camera = runtime, onlooker, camera
        self.shown = 0

    def ask(self, command: Command) -> Reply:
        return self.onlooker.commands.send(command, 10.0)

    def stored(self, name: str, model: bytes | None = None, **changed: Any) -> str:
        """The digest of a bundle in the store: the shipped one under another name, or with another model."""
        files = {"model.tflite": model} if model is not None else None
        folder = rewritten(self.runtime / name, lambda manifest: manifest.update(name=name, **changed), files)
        store = Store(self.runtime / "state" / "models")
        digest = store.add(Bundle.load(folder))
        store.close()
        return digest

    def attempt(self, digest: str, phase: str = "reading") -> TrialReport:
        """Begin a trial and wait until it is so far."""
        reports: list[TrialReport] = []

        def so_far() -> bool:
            reply = self.ask(RecognizerTry(bundle=digest))
            assert reply.status == "ok", reply.error
            reports.append(TrialReport.model_validate(reply.data))
            return reports[-1].phase == phase

        self.onlooker.wait(so_far, f"{phase} on trial", 20)
        return reports[-1]

    def show(self, pixels: NDArray[np.uint8]) -> Reading:
        """A frame, and what was read in it."""
        number = self.camera.show(pixels)
        self.shown += 1

        def read() -> Reading | None:
            return next((each for each in self.onlooker.of("reading") if each.frame_id == number), None)

        reading = self.onlooker.wait(read, f"the reading of frame {number}", 20)
        assert reading is not None
        return reading

    def boxes(self, pixels: NDArray[np.uint8], model: Any = None) -> Reply:
        height, width = pixels.shape
        image = GreyImage(width=width, height=height, pixels=pixels.tobytes())
        box = Box(x=0, y=0, width=width, height=height)
        return self.ask(RecognizerRead(image=image, boxes=(box,), model=model))


@pytest.fixture
def recognizer(
    context: Context,
    runtime: Path,
    camera: Camera,
) -> Iterator[Recognizer]:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        made = Recognizer(runtime, onlooker, camera)
        onlooker.wait_state("recognizer", "degraded", "No frames", 30)
        yield made


def test_each_frame_is_read_by_exactly_one_model_that_it_names(
    recognizer: Recognizer,
    card: tuple[NDArray[np.uint8], str],
) -> None:
    pixels, text = card
    others = [recognizer.stored(name) for name in ("one", "two", "three")]
    assert recognizer.show(pixels).model.digest == SHIPPED
    for digest in others:
        recognizer.attempt(digest)
        reading = recognizer.show(pixels)
        assert reading.model.digest == digest
        assert [code.text for code in reading.codes] == [text]
        assert recognizer.ask(RecognizerDrop()).status == "ok"
        assert recognizer.show(pixels).model.digest == SHIPPED
        assert recognizer.ask(RecognizerAdopt(bundle=digest)).status == "ok"
        assert recognizer.show(pixels).model.digest == digest
        assert recognizer.ask(RecognizerAdopt(bundle=SHIPPED)).status == "ok"
    read = [reading.frame_id for reading in recognizer.onlooker.of("reading")]
    assert sorted(read) == list(range(1, recognizer.shown + 1)), "no frame unread, none read twice"


def test_without_frames_the_golden_digits_count(recognizer: Recognizer) -> None:
    digest = recognizer.stored("one")
    recognizer.attempt(digest)
    recognizer.onlooker.wait(lambda: recognizer.attempt(digest).inferences >= 20, "inferences", 20)


def test_two_models_read_the_same_strokes_side_by_side(recognizer: Recognizer) -> None:
    digest = recognizer.stored("one")
    paper = np.full((100, 100), 255, np.uint8)
    paper[20:80, 47:53] = 0
    refused = recognizer.boxes(paper, "candidate")
    assert refused.error is not None
    assert refused.error.code == "no-candidate"
    recognizer.attempt(digest)
    readings = {
        which: BoxReading.model_validate(recognizer.boxes(paper, which).data)
        for which in ("active", "candidate")
    }
    assert readings["active"].model.digest == SHIPPED
    assert readings["candidate"].model.digest == digest
    assert readings["active"].digits == readings["candidate"].digits, "they differ in their names alone"
    third = recognizer.stored("two")
    kept = BoxReading.model_validate(recognizer.boxes(paper, third).data)
    assert kept.model.digest == third
    assert kept.digits == readings["active"].digits
    assert recognizer.boxes(paper).data["model"]["digest"] == digest, "the one on trial reads all else"  # type: ignore[index]
    unknown = recognizer.boxes(paper, "cd" * 32)
    assert unknown.error is not None
    assert unknown.error.code == "unusable"


def ink_counter(limit: float) -> bytes:
    """A model of ten answers that overflow where there is more ink than the limit."""
    ink = Dense(
        inputs=(0,), output=1, kernel=np.ones((784, 1), np.float32), bias=np.array([-limit], np.float32)
    )
    above = Activate(inputs=(1,), output=2, function="relu")
    spread = Dense(
        inputs=(2,), output=3, kernel=np.full((1, 10), 3e38, np.float32), bias=np.zeros(10, np.float32)
    )
    return tflite.write(
        Network(shapes=((784,), (1,), (1,), (10,)), operations=(ink, above, spread), output=3)
    )


def test_a_model_that_fails_at_a_picture_falls_back_and_says_why(recognizer: Recognizer) -> None:
    golden = Bundle.load(FACTORY).golden().crops
    most = float(golden.reshape(len(golden), -1).sum(axis=1).max()) / 255
    assert most < 390
    form = {"shape": [784], "dtype": "float32", "scale": 1 / 255, "offset": 0, "polarity": "light_on_dark"}
    digest = recognizer.stored("counter", ink_counter(most + 2), input=form)
    recognizer.attempt(digest)
    square = np.full((60, 60), 255, np.uint8)
    square[10:50, 10:50] = 0
    refused = recognizer.boxes(square)
    assert refused.error is not None
    assert refused.error.code == "model"
    assert "not finite" in recognizer.attempt(digest, "failed").problem
    again = recognizer.boxes(square)
    assert again.data is not None
    assert again.data["model"]["digest"] == SHIPPED


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: None, "no bundle"),
        (lambda folder: (folder / "model.tflite").write_bytes(b"no model"), "bytes where its manifest says"),
    ],
    ids=["missing", "damaged"],
)
def test_a_bundle_that_cannot_be_loaded_changes_nothing(
    recognizer: Recognizer, spoil: Callable[[Path], object], said: str
) -> None:
    folder = recognizer.runtime / "state" / "models" / f"sha256-{'ab' * 32}"
    if said != "no bundle":
        rewritten(folder)
    spoil(folder)
    assert said in recognizer.attempt("ab" * 32, "failed").problem
    refused = recognizer.ask(RecognizerAdopt(bundle="ab" * 32))
    assert refused.error is not None
    assert refused.error.code == "unusable"
    assert recognizer.boxes(np.zeros((28, 28), np.uint8)).data["model"]["digest"] == SHIPPED  # type: ignore[index]


def test_a_trial_is_renewed_only_where_it_is_on(recognizer: Recognizer) -> None:
    digest = recognizer.stored("one")
    refused = recognizer.ask(RecognizerTry(bundle=digest, renew=True))
    assert refused.error is not None
    assert refused.error.code == "no-trial"
    recognizer.attempt(digest)
    assert recognizer.ask(RecognizerTry(bundle=digest, renew=True)).status == "ok"


def test_it_starts_with_the_active_model_of_the_store(context: Context, runtime: Path) -> None:
    store = Store(runtime / "state" / "models")
    digest = store.add(Bundle.load(rewritten(runtime / "one", lambda manifest: manifest.update(name="one"))))
    store.activate(digest)
    store.close()
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        beat = onlooker.wait_state("recognizer", "degraded", "No frames", 30)
        assert beat.details["model"].startswith("one ")


def test_an_active_model_with_which_it_never_lasts_is_left_out(context: Context, runtime: Path) -> None:
    store = Store(runtime / "state" / "models")
    digest = store.add(Bundle.load(rewritten(runtime / "one", lambda manifest: manifest.update(name="one"))))
    store.activate(digest)
    store.close()
    onlooker = Onlooker(context, runtime)
    for _ in range(3):
        with service("recognizer", runtime) as process:
            onlooker.wait(lambda: _details(onlooker, process.pid).startswith("one "), "the active model", 30)
            process.kill()
    with service("recognizer", runtime) as process:
        onlooker.wait(lambda: _details(onlooker, process.pid).startswith("digits "), "the shipped model", 30)
        assert "ended 3 times" in onlooker.wait_state("recognizer", "degraded").reason
        refused = onlooker.commands.send(RecognizerAdopt(bundle=digest), 10.0)
        assert refused.error is not None
        assert refused.error.code == "unusable"
    with service("recognizer", runtime) as process:  # it was stopped, and begins anew
        onlooker.wait(lambda: _details(onlooker, process.pid).startswith("one "), "the active model", 30)


def _details(onlooker: Onlooker, pid: int) -> str:
    """The model that this process says it reads with."""
    beat = onlooker.health.get("recognizer")
    return beat.details.get("model", "") if beat is not None and beat.pid == pid else ""
