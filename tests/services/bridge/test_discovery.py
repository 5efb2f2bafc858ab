"""Home Assistant finds the car, and is told when it is no more: real bridges on real brokers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from messages.health import Heartbeat
from messages.models import ModelState
from messages.offers import StandingOffer
from messages.vision import ModelInfo
from services.board import Board
from services.bridge.discovery import REFUSED_S, SPREAD_S, SUSPECT_S, Discovery
from services.bridge.homeassistant import device
from services.bridge.homeassistant_entities import OBJECTIONS
from services.catalogue import COMMANDS, SERVICES
from services.config import Capture, Car, Mqtt, Overlay, Settings
from tests.conftest import PATIENCE_S, wait_for
from tests.services.bridge.conftest import MakeBridge, MakeMosquitto
from tests.services.bridge.kit import CAR, PREFIX, Bridge, Client, Mosquitto, Producer
from tests.tools.car import smartcar
from tools.commands.forget import forget
from tools.terminal.problems import Problem

TOPIC = f"homeassistant/device/smartcar-{CAR}/config"
ACTIVE = ModelInfo(name="digits", version="1.0.0", digest="a" * 64)


def settings(**mqtt: Any) -> Settings:
    return Settings(car=Car(name=CAR), mqtt=Mqtt(host="broker", **mqtt))


def offering(*names: str) -> ModelState:
    offers = [StandingOffer(name=name, version="2.0.0", digest="b" * 64, release=2) for name in names]
    return ModelState(active=ACTIVE, follows=names, offers=tuple(offers))


def listening(broker: Mosquitto, pattern: str = "homeassistant/#") -> Client:
    client = Client(broker.port)
    client.client.subscribe(pattern, 1)
    return client


def announcements(client: Client, topic: str = TOPIC) -> list[bytes]:
    return [each.payload for each in list(client.inbox.messages) if each.topic == topic]


def announced(bridge: Bridge) -> None:
    """Until it has announced the car, and remembers that."""

    def so(beat: Heartbeat) -> bool:
        return beat.pid == bridge.pid and beat.details.get("home_assistant") == "told of this car"

    bridge.wait_for(so, "the announcement")


# what is announced


def test_what_home_assistant_requires_is_there() -> None:
    """Its schema: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload"""
    told = device(settings(), Board(temperature_c=48.0, under_voltage=False), offering("digits"))
    assert told["dev"]["identifiers"] == [f"smartcar-{CAR}"]
    assert told["dev"]["name"] == CAR
    assert told["o"]["name"] == "smartcar"
    [available] = told["availability"]
    assert available["topic"] == f"{PREFIX}status"
    required = {
        "sensor": {"state_topic"},
        "binary_sensor": {"state_topic"},
        "image": {"image_topic"},
        "switch": {"command_topic", "state_topic"},
        "button": {"command_topic"},
        "text": {"command_topic", "pattern"},
        "event": {"state_topic", "event_types"},
        "select": {"command_topic", "options"},
        "update": {"state_topic", "command_topic", "payload_install"},
    }
    seen = set()
    for key, component in told["cmps"].items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", key)
        assert component.keys() >= {"platform", "name", "unique_id"} | required[component["platform"]], key
        topics = [value for name, value in component.items() if name.endswith("_topic")]
        assert all(value.startswith(PREFIX) and not set(value) & set("+<") for value in topics), key
        seen.add(component["unique_id"])
    assert len(seen) == len(told["cmps"])
    assert {f"service_{name}" for name in SERVICES} <= told["cmps"].keys()


def test_the_device_has_the_board_s_number_and_the_page_where_it_can_be_reached() -> None:
    assert (
        device(settings(), Board(serial="10000000a1b2c3d4"), None)["dev"]["serial_number"]
        == "10000000a1b2c3d4"
    )
    assert not {"serial_number", "configuration_url"} & device(settings(), Board(), None)["dev"].keys()
    for page, broker, address in (
        (Overlay(host="10.1.2.3"), "broker", "http://10.1.2.3:8080"),
        (Overlay(host="fe80::1", cert_file=Path("page.crt")), "broker", "https://[fe80::1]:8080"),
        (Overlay(host="127.0.0.1"), "127.0.0.1", "http://127.0.0.1:8080"),
        (
            Overlay(host="0.0.0.0"),
            "broker",
            f"http://{socket.gethostname().partition('.')[0].lower()}.local:8080",
        ),
    ):
        ours = Settings(car=Car(name=CAR), overlay=page, mqtt=Mqtt(host=broker))
        assert device(ours, Board(), None)["dev"]["configuration_url"] == address


def test_a_source_is_chosen_by_its_name() -> None:
    ours = settings().model_copy(update={"capture": Capture(sources={"garden": "http://10.0.0.7/video"})})
    told = device(ours, Board(), None)["cmps"]["source"]
    assert told["options"] == ["default", "garden"]
    assert "10.0.0.7" not in json.dumps(told)


def test_only_commands_that_the_car_takes_are_offered() -> None:
    every = device(settings(), Board(), offering("digits"))["cmps"]
    verbs = {
        each["command_topic"].removeprefix(f"{PREFIX}cmd/").replace("/", ".")
        for each in every.values()
        if "command_topic" in each
    }
    assert verbs >= {"capture.camera", "model.install", "model.rollback"}
    assert verbs <= COMMANDS.keys()
    none = device(settings(commands=()), Board(), offering("digits"))["cmps"]
    assert not any("command_topic" in each for each in none.values())
    assert none["camera"] == {"platform": "switch"}, "what was there from before is taken away"
    assert none["model"]["platform"] == "update"


def test_what_the_board_does_not_tell_and_what_is_switched_off_is_no_entity() -> None:
    told = device(settings(images=False), Board(), None)["cmps"]
    assert told["picture"] == {"platform": "image"}
    assert told["temperature"] == {"platform": "sensor"}
    assert told["under_voltage"] == {"platform": "binary_sensor"}
    assert "payload_install" not in told["model"]


@pytest.mark.parametrize("reason", OBJECTIONS)
def test_an_offer_that_nobody_can_take_is_no_update(reason: str) -> None:
    state = offering("digits")
    refused = state.offers[0].model_copy(update={"reason": reason})
    told = device(settings(), Board(), state.model_copy(update={"offers": (refused,)}))["cmps"]["model"]
    assert "payload_install" not in told


# how it is kept announced


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_car_is_announced_retained_and_again_when_home_assistant_starts(
    protocol: str, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port, protocol=protocol)
    announced(bridge)
    with listening(broker) as client:
        wait_for(lambda: announcements(client), what="the announcement, retained")
        assert json.loads(announcements(client)[0])["dev"]["name"] == CAR
        client.client.publish("homeassistant/status", b"online", 1).wait_for_publish(10)
        wait_for(lambda: len(announcements(client)) >= 2, SPREAD_S + PATIENCE_S)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_forbids_it_is_no_fault_and_no_loop(
    protocol: str, make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, producer: Producer, tmp_path: Path
) -> None:
    rights = tmp_path / "rights"
    rights.write_text(f"topic readwrite {PREFIX}#\n")
    rights.chmod(0o644)
    tmp_path.chmod(0o755)
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rights}")
    with Client(broker.port).subscribe("status") as client:
        bridge = make_bridge(port=broker.port, protocol=protocol)
        bridge.wait_for(lambda beat: "not told" in beat.details.get("home_assistant", ""))
        bridge.wait("ready")
        producer.write(3)
        bridge.wait_for(lambda beat: beat.counters.get("delivered") == 3)
        sessions = {json.loads(each.payload)["session"] for each in client.inbox.on("status")}
        assert len(sessions) <= 3
        assert bridge.health is not None
        assert TOPIC in bridge.health.details["home_assistant"]
        assert "mqtt.discovery" in bridge.health.details["home_assistant"]


def test_switched_off_or_moved_it_is_taken_back(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port)
    with listening(broker, "+/device/#") as client:
        wait_for(lambda: announcements(client))
        announced(bridge)
        bridge.stop()
        bridge.set(discovery="elsewhere")
        bridge.start()
        moved = TOPIC.replace("homeassistant", "elsewhere")
        wait_for(lambda: announcements(client)[-1] == b"" and announcements(client, moved))
        announced(bridge)
        bridge.stop()
        bridge.set(discovery="")
        bridge.start()
        wait_for(lambda: announcements(client, moved)[-1] == b"")


def test_a_car_is_forgotten_once_it_is_stopped(
    make_mosquitto: MakeMosquitto, make_bridge: MakeBridge, runtime: Path
) -> None:
    broker = make_mosquitto()
    bridge = make_bridge(port=broker.port)
    announced(bridge)
    mqtt = {"MQTT__HOST": "127.0.0.1", "MQTT__PORT": str(broker.port)}
    refused = smartcar(runtime, "mqtt", "forget", **mqtt)
    assert refused.returncode == 1
    assert f"{CAR} is running" in refused.stderr
    bridge.stop()
    done = smartcar(runtime, "mqtt", "forget", **mqtt)
    assert done.returncode == 0, done.stderr
    assert "Home Assistant forgets it" in done.stdout
    with listening(broker, "#") as client:
        client.subscribe("status")  # answered after what is retained
        client.publish("status", b"mark")
        wait_for(lambda: client.inbox.messages)
        assert [each.payload for each in client.inbox.messages] == [b"mark"]


def test_an_installed_car_s_password_is_found_where_systemd_takes_it(
    make_mosquitto: MakeMosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "mqtt-password"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "car", "right"], check=True, capture_output=True
    )
    passwords.chmod(0o644)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {passwords}")
    ours = settings().model_copy(update={"mqtt": Mqtt(host="127.0.0.1", port=broker.port, username="car")})
    with pytest.raises(Problem, match="login"):
        forget(ours)
    secret.write_text("right\n")
    monkeypatch.setattr("tools.commands.forget.CAR_PASSWORD", secret)
    assert forget(ours) == 0


# how it goes about it, by a clock of its own


class Broker:
    """Takes what is published, and answers when the test says so."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    def __call__(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int:
        assert (qos, retain) == (1, True)
        self.said.append((topic, payload))
        return len(self.said)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def discovery(broker: Broker, now: list[float], tmp_path: Path) -> Discovery:
    return Discovery(settings(), broker, tmp_path / "announced", lambda: now[0])


def test_an_offer_that_comes_or_goes_is_announced_and_nothing_else_is(
    discovery: Discovery, broker: Broker
) -> None:
    discovery.session_up()
    discovery.models(offering())
    assert len(broker.said) == 1
    discovery.models(offering("digits"))
    discovery.models(offering("digits"))
    assert len(broker.said) == 2
    install = json.loads(broker.said[-1][1])["cmps"]["model"]["payload_install"]
    assert json.loads(install) == {"offer": "digits"}


def test_a_refusal_holds_for_a_day(discovery: Discovery, broker: Broker, now: list[float]) -> None:
    discovery.session_up()
    discovery.acknowledged(1, 135)
    discovery.session_down()
    for _ in range(3):
        discovery.session_up()
        discovery.session_down()
    assert len(broker.said) == 1
    now[0] += REFUSED_S
    discovery.session_up()
    assert len(broker.said) == 2


def test_sessions_that_end_over_it_twice_are_a_refusal_and_one_is_not(
    discovery: Discovery, broker: Broker, now: list[float]
) -> None:
    for lasted_s in (0.1, SUSPECT_S + 1, 0.1, 0.1):  # the second one lasts: the first was by chance
        discovery.session_up()
        discovery.acknowledged(len(broker.said), 0)
        now[0] += lasted_s
        discovery.tick()
        discovery.session_down()
    assert "not told" in discovery.note
    discovery.session_up()
    assert len(broker.said) == 4


def test_a_birth_that_stood_there_before_is_none(
    discovery: Discovery, broker: Broker, now: list[float]
) -> None:
    discovery.session_up()
    discovery.birth(b"online", retained=True)
    discovery.birth(b"offline", retained=False)
    now[0] += SPREAD_S + 1
    discovery.tick()
    assert len(broker.said) == 1
