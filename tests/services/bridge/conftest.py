"""Fixtures of the bridge's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import zmq

from tests.services.bridge.kit import Bridge, Mosquitto, Producer, find_mosquitto


class MakeMosquitto(Protocol):
    def __call__(self, settings: str = ..., listener: str = ...) -> Mosquitto: ...


class MakeBridge(Protocol):
    def __call__(self, **settings: object) -> Bridge: ...


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[MakeMosquitto]:
    """Starts Mosquittos that end with the test."""
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    made: list[Mosquitto] = []

    def make(settings: str = "allow_anonymous true", listener: str = "") -> Mosquitto:
        made.append(Mosquitto(tmp_path, settings, listener))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def make_bridge(
    context: zmq.Context[zmq.Socket[bytes]], runtime: Path, tmp_path: Path
) -> Iterator[MakeBridge]:
    """Starts bridge processes that end with the test; the keywords are settings of the section `mqtt`."""
    made: list[Bridge] = []

    def make(**settings: object) -> Bridge:
        made.append(Bridge(context, runtime, tmp_path / "state", **settings).start())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Producer]:
    """Who writes the events that the bridge delivers."""
    made = Producer(tmp_path / "state")
    yield made
    made.close()
