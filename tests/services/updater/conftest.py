"""A car that only reads: recognizer and updater as processes, without a camera."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from messages.command import Command, Reply
from messages.message import new_ulid
from messages.model_commands import ModelList, ModelTable
from messages.models import ENDED, ModelProgress, ModelState
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from tests.conftest import PATIENCE_S
from tests.models.making import rewritten
from tests.services.processes import Onlooker, service

TRIAL = {"MODELS__TRIAL_SECONDS": "0.2", "MODELS__TRIAL_INFERENCES": "10"}


class Car:
    """The two processes, and what they say."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self.runtime = runtime
        self.onlooker = Onlooker(context, runtime)
        self.key = SigningKey.generate()
        self.settings = TRIAL | {"MODELS__TRUST": f'["{self.key.public.text}"]'}
        self.inbox = runtime / "state" / "data"
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._blocks = ExitStack()

    def start(self, *names: str, **settings: str) -> None:
        """Start services, or start them again, and wait until they can be asked."""
        for name in names:
            block = service(name, self.runtime, **(self.settings | settings))
            self.processes[name] = self._blocks.enter_context(block)
        for name in names:
            self._wait_for(name, self.processes[name].pid)

    def _wait_for(self, name: str, pid: int) -> None:
        def runs() -> bool:
            beat = self.onlooker.health.get(name)
            return beat is not None and beat.pid == pid and beat.state in ("ready", "degraded")

        self.onlooker.wait(runs, f"{name} to run", 30)

    def kill(self, name: str) -> None:
        """As the kernel would, short of memory."""
        self.processes[name].kill()
        self.processes[name].wait()

    def start_again(self, name: str, **settings: str) -> None:
        """Stop it cleanly and start it with other settings."""
        self.processes[name].terminate()
        self.processes[name].wait()
        self.start(name, **settings)

    def stop(self) -> None:
        self._blocks.close()

    def ask(self, command: Command) -> Reply:
        return self.onlooker.commands.send(command, 15.0)

    def steps(self, file: str = "", change: str = "") -> list[ModelProgress]:
        """What was told of a file, or of a change."""
        told: list[ModelProgress] = self.onlooker.of("model.progress")
        return [each for each in told if each.file == file != "" or each.change == change]

    def end(self, file: str = "", change: str = "", within_s: float = PATIENCE_S) -> ModelProgress:
        """How it ended."""

        def ended() -> ModelProgress | None:
            return next((each for each in self.steps(file, change) if each.step in ENDED), None)

        last = self.onlooker.wait(ended, f"the end of {file or change}", within_s)
        assert last is not None
        return last

    def step(self, step: str, file: str, attempt: int = 1) -> None:
        """Until it is there."""

        def told() -> bool:
            return any(each.step == step and each.attempt == attempt for each in self.steps(file))

        self.onlooker.wait(told, f"{step} of {file}", 60)

    @property
    def state(self) -> ModelState:
        states: list[ModelState] = self.onlooker.of("model.state")
        return states[-1]

    def models(self) -> ModelTable:
        return ModelTable.model_validate(self.ask(ModelList()).data)

    def reads_with(self, digest: str) -> None:
        """Until the recognizer reads boxes with this model, and the updater calls it active."""
        self.onlooker.wait(lambda: self.state.active.digest == digest, "the updater to say so", 20)
        self.onlooker.wait(lambda: self.reading() == digest, "the recognizer to read with it", 20)

    def reading(self) -> str:
        """The digest of the model that reads boxes now; empty while none does."""
        from messages.recognizer_commands import RecognizerRead
        from messages.vision import Box, GreyImage

        paper = GreyImage(width=28, height=28, pixels=bytes([255] * 784))
        reply = self.onlooker.commands.send(
            RecognizerRead(image=paper, boxes=(Box(x=0, y=0, width=28, height=28),)), 2.0
        )
        return str(reply.data["model"]["digest"]) if reply.data else ""

    def bundle(self, name: str, signed_by: SigningKey | None = None, **changed: Any) -> Bundle:
        """The shipped model under another name."""
        folder = self.runtime / f"bundle-{new_ulid()}"
        rewritten(folder, lambda manifest: manifest.update(name=name, **changed))
        if signed_by is not None:
            raw = (folder / "manifest.json").read_bytes()
            (folder / "manifest.sig").write_bytes(signed_by.sign(raw))
        return Bundle.load(folder)

    def drop(self, name: str, content: bytes) -> None:
        """Put a file into the data folder."""
        (self.inbox / name).write_bytes(content)


@pytest.fixture
def root() -> Iterator[Path]:
    """On tmpfs: a kill doesn't need the disk to be waited for, as a power cut would."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def car(context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> Iterator[Car]:
    car = Car(context, runtime)
    car.start("recognizer", "updater")
    yield car
    car.stop()
