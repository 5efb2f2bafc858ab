"""What a model brings may fail between frame and reading: the car reads on with another, and says so."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from messages.recognizer_commands import RecognizerAdopt, RecognizerTry
from models.bundle.bundle import Bundle
from models.store import Store
from models.store_reader import bundle_folder
from services.config import Paths, Recognizer, Settings
from services.recognizer.model import LoadedModel, load
from services.recognizer.model_switcher import ModelSwitcher
from services.recognizer.service import RecognizerService
from tests.conftest import PATIENCE_S, wait_for
from tests.models.making import FACTORY, rewritten
from tests.models.trap import failing_at_ink
from tests.services.processes import Onlooker, service
from tests.services.recognizer.conftest import Camera

Context = zmq.Context[zmq.Socket[bytes]]
SHIPPED = Bundle.load(FACTORY)


def stored(runtime: Path, name: str, model: bytes | None = None, *, active: bool = False) -> str:
    """The digest of the shipped model under another name, or of another model, in the store."""
    files = {"model.tflite": model} if model is not None else None
    store = Store(runtime / "state" / "models")
    folder = rewritten(runtime / name, lambda manifest: manifest.update(name=name), files)
    digest = store.add(Bundle.load(folder))
    if active:
        store.activate(digest)
    store.close()
    return digest


def trap() -> bytes:
    """Reads all golden digits, and fails at five digits of a thick pen."""
    crops = SHIPPED.golden().crops.astype(np.float32) / 255
    most = max(float(crops[start : start + 5].sum()) for start in range(0, len(crops), 5))
    return failing_at_ink(SHIPPED.model, round(most) + 50)


def thick_digits() -> NDArray[np.uint8]:
    """A frame of them."""
    frame = np.full((480, 640, 3), 235, np.uint8)
    for place in range(5):
        cv2.putText(frame, "8", (40 + place * 115, 300), cv2.FONT_HERSHEY_SIMPLEX, 5, (15, 15, 15), 28)
    return frame


def test_an_active_model_that_fails_at_a_frame_gives_way_to_the_shipped_one_which_reads_it(
    context: Context, runtime: Path, camera: Camera
) -> None:
    digest = stored(runtime, "trap", trap(), active=True)
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime) as process:
        onlooker.wait_state("recognizer", "degraded", "No frames", 30)
        assert onlooker.health["recognizer"].details["digest"] == digest

        def is_read_by_the_shipped_model() -> bool:
            number = camera.show(thick_digits())
            onlooker.wait(lambda: any(each.frame_id >= number for each in onlooker.of("reading")[-3:]))
            return bool(onlooker.of("reading")[-1].model.digest == SHIPPED.digest)

        onlooker.wait(is_read_by_the_shipped_model)
        beat = onlooker.wait_state("recognizer", "degraded", "failed at a picture")
        assert beat.details["digest"] == SHIPPED.digest, "what the updater compares"
        assert "smartcar model rollback" in beat.reason
        refused = onlooker.commands.send(RecognizerAdopt(bundle=digest), 10.0)
        assert refused.error is not None
        assert (refused.error.code, "GATHER" in refused.error.message) == ("unusable", True)
        assert onlooker.commands.send(RecognizerTry(bundle=digest), 10.0).status == "ok", "somebody's will"
        assert process.poll() is None


def test_a_model_whose_labels_are_no_digits_is_not_tried(context: Context, runtime: Path) -> None:
    store = Store(runtime / "state" / "models")
    letters = rewritten(runtime / "letters", lambda manifest: manifest.update(labels=[*"abcdefghij"]))
    digest = store.add(Bundle.load(letters))
    store.close()
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        onlooker.wait_state("recognizer", "degraded", "No frames", 30)

        def problem() -> str:
            reply = onlooker.commands.send(RecognizerTry(bundle=digest), 10.0)
            return str((reply.data or {}).get("problem", ""))

        assert "the ten digits 0 to 9 are due" in onlooker.wait(problem)


class Crashing(RecognizerService):
    """Ends by an exception that nobody foresaw."""

    def start(self) -> None:
        super().start()
        self.call_soon(self._crash)

    def _crash(self) -> None:
        raise RuntimeError("nobody foresaw this")


def test_a_crash_by_exception_is_counted_and_only_a_stop_that_was_asked_for_clears_the_count(
    runtime: Path,
) -> None:
    digest = stored(runtime, "one", active=True)
    settings = Settings(paths=Paths(runtime=runtime / "run", state=runtime / "state"))
    found = []
    for _ in range(4):
        recognizer = Crashing(settings)
        with pytest.raises(RuntimeError):
            recognizer.serve()
        found.append(recognizer.details["digest"])
    assert found == [digest] * 3 + [SHIPPED.digest]
    for expected in (SHIPPED.digest, digest):
        stopped = RecognizerService(settings)
        stopped.request_stop()
        stopped.serve()
        assert stopped.details["digest"] == expected
    gc.unfreeze()


class Switcher:
    """A ModelSwitcher whose loads wait until they are let go, each by its own."""

    def __init__(self, root: Path) -> None:
        self.calls: deque[Callable[[], None]] = deque()
        self.gates: dict[Path, threading.Event] = {}
        self.root = root
        self.models = ModelSwitcher(
            load(FACTORY, Recognizer()), root, self._load, self.calls.append, lambda: None, {}
        )

    def let_go(self, digest: str) -> None:
        """It is loaded, and the loop has heard of it."""
        wait_for(lambda: bundle_folder(self.root, digest) in self.gates)
        self.gates[bundle_folder(self.root, digest)].set()
        wait_for(lambda: self.calls)
        self.calls.popleft()()

    def _load(self, folder: Path) -> LoadedModel:
        self.gates[folder] = threading.Event()
        assert self.gates[folder].wait(PATIENCE_S)
        return load(folder, Recognizer())


@pytest.fixture
def switcher(runtime: Path) -> Switcher:
    return Switcher(runtime / "state" / "models")


def test_the_last_adoption_asked_for_wins(switcher: Switcher, runtime: Path) -> None:
    """Two rollbacks one after the other: the first model is still being loaded at the second."""
    one, two = stored(runtime, "one"), stored(runtime, "two")
    switcher.models.adopt(RecognizerAdopt(bundle=one))
    switcher.models.adopt(RecognizerAdopt(bundle=SHIPPED.digest))
    switcher.let_go(one)
    assert switcher.models.reading.info.digest == SHIPPED.digest

    switcher.models.adopt(RecognizerAdopt(bundle=two))
    switcher.models.adopt(RecognizerAdopt(bundle=one))
    switcher.let_go(one)
    assert switcher.models.reading.info.digest == one
    switcher.let_go(two)
    assert switcher.models.reading.info.digest == one


def test_a_trial_cancels_an_adoption_that_is_still_being_loaded(switcher: Switcher, runtime: Path) -> None:
    one, two = stored(runtime, "one"), stored(runtime, "two")
    switcher.models.adopt(RecognizerAdopt(bundle=one))
    switcher.models.attempt(RecognizerTry(bundle=two))
    switcher.let_go(two)
    switcher.let_go(one)
    assert switcher.models.reading.info.digest == two
