"""A renamed car leaves nothing under its old name, and takes nothing from another: real bridges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.bridge.documents import retained_topics
from services.catalogue import SERVICES
from tests.conftest import wait_for
from tests.services.bridge.kit import CAR, PREFIX, Client, Mosquitto, find_mosquitto
from tests.services.processes import service

NEW = "smartcar/renamed/status"
DEVICE = f"homeassistant/device/smartcar-{CAR}/config"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    return {"MQTT__HOST": "127.0.0.1"}


def standing(port: int) -> dict[str, bytes]:
    """What is retained, whole: the mark comes last."""
    with Client(port) as client:
        client.client.subscribe("#", 1)
        client.publish("mark", b"x")
        client.wait("mark")
        return {each.topic: each.payload for each in client.inbox.messages if each.retain}


def test_a_renamed_car_takes_its_old_topics_away(
    settings: dict[str, str], runtime: Path, tmp_path: Path
) -> None:
    broker = Mosquitto(tmp_path)
    broker.start()
    try:
        ours = {**settings, "MQTT__PORT": str(broker.port)}
        with service("bridge", runtime, **ours):
            wait_for(lambda: DEVICE in standing(broker.port), 60, "the car")
            wait_for(lambda: (runtime / "state" / "bridge" / "name.json").exists(), 60, "that it is noted")
        assert f"{PREFIX}info" in standing(broker.port)
        with service("bridge", runtime, CAR__NAME="renamed", **ours):
            wait_for(lambda: NEW in standing(broker.port), 60, "the renamed car")
            wait_for(lambda: f"{PREFIX}status" not in standing(broker.port), 60, "the old name to be cleared")
        left = standing(broker.port)
        assert not [topic for topic in left if topic.startswith(PREFIX)]
        assert DEVICE not in left
        assert json.loads(left[NEW])["state"] == "stopped"
    finally:
        broker.stop()


def test_it_takes_nothing_from_another_car_that_has_the_name_now(
    settings: dict[str, str], runtime: Path, tmp_path: Path
) -> None:
    broker = Mosquitto(tmp_path)
    broker.start()
    try:
        ours = {**settings, "MQTT__PORT": str(broker.port)}
        note = runtime / "state" / "bridge" / "name.json"
        with service("bridge", runtime, **ours):
            wait_for(note.exists, 60, "that it is noted")
        with service("bridge", runtime / "other", **ours):
            wait_for(lambda: b'"starting"' in standing(broker.port)[f"{PREFIX}status"], 60, "the other car")
            with service("bridge", runtime, CAR__NAME="renamed", **ours):
                wait_for(lambda: json.loads(note.read_text())["name"] == "renamed", 60, "the renamed car")
                assert f"{PREFIX}status" in standing(broker.port)
    finally:
        broker.stop()


def test_all_that_is_retained_is_known_by_name() -> None:
    topics = retained_topics(SERVICES)
    assert {"status", "info", "state/model", "status/bridge", "image/reading"} <= set(topics)
    assert len(set(topics)) == len(topics)
