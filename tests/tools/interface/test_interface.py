"""The MQTT interface in writing is what the tables say and what a running car does."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel, ValidationError

from messages.command import Reply
from services.catalogue import COMMANDS, SERVICES
from tests.conftest import REPOSITORY
from tests.services.bridge.kit import CAR, find_mosquitto
from tests.tools.car import smartcar
from tests.tools.interface.interface_car import InterfaceCar, explained, interface_car, recorded
from tools.interface.channels import taken
from tools.interface.examples import Examples, examples
from tools.interface.markdown import shown

JSON_TOPICS = {row.topic: row.message for row in explained() if row.message is not None}


@pytest.mark.parametrize(
    ("option", "name"), [("--markdown", "mqtt.md"), ("--asyncapi", "asyncapi.json")], ids=lambda each: each
)
def test_what_is_committed_is_what_the_tables_say(option: str, name: str, runtime: Path) -> None:
    written = smartcar(runtime, "topics", option).stdout
    committed = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    assert committed == written, f"docs/{name} is not of today: make docs"


def test_each_message_and_each_command_has_an_example_on_the_page() -> None:
    assert examples().said.keys() == JSON_TOPICS.keys() == shown(), "tools/interface/mqtt.md shows each"
    missing = {row.verb for row in taken()} ^ examples().asked.keys()
    assert not missing, f"let InterfaceCar.everything ask {missing}, and record the examples anew"


def _check(shown: Examples) -> None:
    """Each is just what its model is: nothing is missing, nothing is unknown, at any depth."""
    for topic, message in JSON_TOPICS.items():
        assert _again(message, shown.said[topic]) == shown.said[topic], topic
    for verb, asked in shown.asked.items():
        COMMANDS[verb].model_validate_json(json.dumps(asked.command))
        assert _again(Reply, asked.reply) == asked.reply, verb
        assert _again(COMMANDS[verb].result, asked.reply["data"]) == asked.reply["data"], verb
    assert _again(Reply, shown.refused.reply) == shown.refused.reply


def _again(model: type[BaseModel], content: dict[str, Any]) -> Any:
    return json.loads(model.model_validate_json(json.dumps(content)).model_dump_json())


def test_the_examples_are_what_the_models_say() -> None:
    try:
        _check(examples())
    except (AssertionError, ValidationError, KeyError) as error:
        pytest.fail(
            f"{error}\nrecord the examples anew: python -m tests.tools.interface.record_examples; make docs"
        )


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    """For sockets: their paths are short."""
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def car(short_folder: Path) -> Iterator[InterfaceCar]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    with interface_car(short_folder) as made:
        made.everything()
        yield made


def test_a_running_car_says_and_answers_what_is_written(car: InterfaceCar) -> None:
    now = recorded(car.examples())
    _check(now)
    written = examples()
    assert {verb: asked.command.keys() for verb, asked in now.asked.items()} == {
        verb: asked.command.keys() for verb, asked in written.asked.items()
    }
    assert now.refused.reply == written.refused.reply


def test_home_assistant_can_render_all_that_it_is_told(car: InterfaceCar) -> None:
    """Each template, by what Home Assistant renders with, on every message that really came."""
    told = car.heard_on(f"homeassistant/device/smartcar-{CAR}/config")[-1]
    environment = Environment(undefined=StrictUndefined)
    states: dict[str, list[str]] = {}
    for key, component in [*told["cmps"].items(), ("available", told["availability"][0])]:
        for topic, template in (("state_topic", "value_template"), ("topic", "value_template"),
                                ("json_attributes_topic", "json_attributes_template")):  # fmt: skip
            if topic not in component or template not in component:
                continue
            render = environment.from_string(component[template]).render
            came = car.heard_on(component[topic])
            assert came, f"{key}: nothing came on {component[topic]}"
            rendered = [render(value_json=each, this={"state": "before"}) for each in came]
            assert render() in ("", "{}", "None", "offline"), "the topic was cleared"
            if topic == "json_attributes_topic" or component.get("platform") in ("update", "event"):
                assert all(isinstance(json.loads(each), dict) for each in rendered), key
            else:
                states[key] = rendered
    assert {"online", "offline"} >= set(states["available"])
    assert {"on", "off"} == set(states["camera"])
    assert "1----" in states["pad"]
    assert {"ready"} <= set(states["state"]) <= set(told["cmps"]["state"]["options"])
    for name in SERVICES:
        assert "ready" in states[f"service_{name}"]
    assert any(each.isdigit() for each in states["reading"])
    assert all(0 < float(each) <= 100 for each in states["confidence"] if each)
    assert all(float(each) >= 0 for each in states["memory"] + states["frame_rate"])


def test_home_assistant_is_shown_an_update_while_an_offer_stands_and_none_after(car: InterfaceCar) -> None:
    told = car.heard_on(f"homeassistant/device/smartcar-{CAR}/config")[-1]["cmps"]["model"]
    render = Environment(undefined=StrictUndefined).from_string(told["value_template"]).render
    active = {"name": "digits", "version": "1.0.0", "digest": "a" * 64}
    offer = {"name": "digits", "version": "1.1.0", "digest": "b" * 64, "release": 3, "percent": 40,
             "reason": "pinned", "sentence": "It is pinned."}  # fmt: skip
    state = {"active": active, "change": "", "offers": [offer]}
    shown = json.loads(render(value_json=state))
    assert (shown["installed_version"], shown["latest_version"]) == ("digits 1.0.0", "digits 1.1.0")
    assert (shown["in_progress"], shown["release_summary"]) == (False, "It is pinned.")
    assert json.loads(render(value_json={**state, "change": "x"}))["update_percentage"] == 40
    again = json.loads(render(value_json={**state, "offers": [{**offer, "version": "1.0.0"}]}))
    assert again["latest_version"] == "digits 1.0.0 (bbbbbbbb)", "another release of the same version"
    refused = json.loads(render(value_json={**state, "offers": [{**offer, "reason": "expired"}]}))
    assert refused["installed_version"] == refused["latest_version"], "nobody could take it"
    taken = json.loads(render(value_json={**state, "active": {**active, "digest": "b" * 64}}))
    assert taken["installed_version"] == taken["latest_version"]


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads((REPOSITORY / "docs" / "asyncapi.json").read_text(encoding="utf-8"))

    def follow(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found: Any = document
                for step in value["$ref"].removeprefix("#/").split("/"):
                    found = found[step]
            for each in value.values():
                follow(each)
        elif isinstance(value, list):
            for each in value:
                follow(each)

    follow(document)
    payloads = [each["payload"] for each in document["components"]["messages"].values()]
    assert all(each.keys() == {"$ref"} for each in payloads), "each payload's type has a name"
    servers = document["servers"].values()
    assert {each["protocol"] for each in servers} == {"mqtt", "mqtts"}
    login = [{"$ref": "#/components/securitySchemes/login"}]
    assert all(each["security"] == login for each in servers)
    assert {each["action"] for each in document["operations"].values()} == {"send", "receive"}
