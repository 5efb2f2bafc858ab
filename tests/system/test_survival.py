"""The whole car with a real broker: whatever is killed, whenever, no event is lost and all comes back."""

from __future__ import annotations

import os
import random
import signal
from collections import defaultdict
from functools import partial
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import zmq
from paho.mqtt.enums import CallbackAPIVersion

from messages.message import decode
from messages.vision import ReadingEvent
from services.catalogue import SERVICES
from tests.conftest import wait_for
from tests.services.bridge.kit import Mosquitto, find_mosquitto
from tests.services.processes import Onlooker, undelivered
from tests.tools.car import running_car

Context = zmq.Context[zmq.Socket[bytes]]

KILLS = 50
BACK_WITHIN_S = 20.0

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")


class Listener:
    """An MQTT subscriber with a session that outlives its connection; keeps every event."""

    def __init__(self, port: int) -> None:
        self.events: list[ReadingEvent] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self.client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        self.client.on_connect = lambda client, *_: client.subscribe("smartcar/+/event/#", qos=1)
        self.client.on_message = lambda _, __, message: self.events.append(
            decode(ReadingEvent, bytes(message.payload))
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def lasting_broker(folder: Path) -> Mosquitto:
    """A broker that keeps its sessions on disk, so that it can be killed too."""
    return Mosquitto(
        folder,
        f"allow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        f"autosave_on_changes true\nautosave_interval 1",
    )


def test_fifty_random_kills_lose_no_event(context: Context, runtime: Path, tmp_path: Path) -> None:
    broker = lasting_broker(tmp_path)
    broker.start()
    listener = Listener(broker.port)
    onlooker = Onlooker(context, runtime)
    rng = random.Random(20)
    car_settings = {
        "MQTT__HOST": "127.0.0.1",
        "MQTT__PORT": str(broker.port),
        "CAPTURE__HERTZ": "10",
        "CAPTURE__WIDTH": "640",
        "CAPTURE__HEIGHT": "480",
        "RECOGNIZER__FORGET_SECONDS": "0.3",
    }
    try:
        with running_car(runtime, **car_settings) as car:
            for name in SERVICES:
                onlooker.wait_state(name, "ready", within_s=60)
            for _ in range(KILLS):
                victim = rng.choice([*SERVICES, "broker"])
                heard = len(listener.events)
                if victim == "broker":
                    broker.kill()
                    broker.start()
                    onlooker.wait_state("bridge", "ready", within_s=BACK_WITHIN_S)
                else:
                    kill_and_wait(onlooker, victim)
                if rng.random() < 0.2:
                    wait_for(partial(has_more, listener, heard), 30, "the next event")
            for name in SERVICES:
                onlooker.wait_state(name, "ready", within_s=BACK_WITHIN_S)
            assert car.stop() == 0
            # What the car had no time to deliver stands in the journal; the next start delivers it.
        with running_car(runtime, **car_settings, CAPTURE__SOURCE="folder:/no/such"):
            wait_for(
                lambda: undelivered(runtime, "recognizer") == 0,
                30,
                "the journal to be delivered",
            )
        wait_for(lambda: not open_events(listener.events), 10, "every event to have its end")
    finally:
        listener.close()
        broker.stop()
    sequences: dict[str, set[int]] = defaultdict(set)
    for event in listener.events:
        sequences[event.boot_id].add(event.sequence)
    assert len(sequences) > 5, "the recognizer was killed time and again, and each run reported something"
    for boot_id, seen in sequences.items():
        assert seen == set(range(1, max(seen) + 1)), f"of the run {boot_id} some events never came"
    assert {event.phase for event in listener.events} >= {"new", "end"}
    assert car.left_behind() == []


def kill_and_wait(onlooker: Onlooker, victim: str) -> None:
    """SIGKILL a service; wait until another process does its work."""
    killed = onlooker.health[victim].pid
    os.kill(killed, signal.SIGKILL)

    def back() -> bool:
        beat = onlooker.health[victim]
        return beat.pid != killed and beat.state == "ready"

    onlooker.wait(back, f"{victim} back", BACK_WITHIN_S)


def has_more(listener: Listener, than: int) -> bool:
    return len(listener.events) > than


def open_events(events: list[ReadingEvent]) -> set[str]:
    """The ids of those that began and have not ended."""
    began = {event.event_id for event in events if event.phase != "end"}
    return began - {event.event_id for event in events if event.phase == "end"}
