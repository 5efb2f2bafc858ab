"""The MQTT interface in writing is what the tables say and what a running car does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from messages.command import Reply
from messages.commands import COMMANDS
from tests.conftest import REPOSITORY
from tests.services.bridge.kit import find_mosquitto
from tests.tools.car import smartcar
from tests.tools.interface_car import interface_car, recorded
from tools.interface.channels import said, taken
from tools.interface.examples import Examples, examples
from tools.interface.markdown import shown

JSON_TOPICS = {row.topic: row.message for row in said() if row.message is not None}


@pytest.mark.parametrize(
    ("option", "name"), [("--markdown", "mqtt.md"), ("--asyncapi", "asyncapi.json")], ids=lambda each: each
)
def test_what_is_committed_is_what_the_tables_say(option: str, name: str, runtime: Path) -> None:
    written = smartcar(runtime, "topics", option).stdout
    committed = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    assert committed == written, f"docs/{name} is not of today: make docs"


def test_each_message_and_each_command_has_an_example_on_the_page() -> None:
    assert examples().said.keys() == JSON_TOPICS.keys() == shown()
    assert examples().asked.keys() == {row.verb for row in taken()}


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
        pytest.fail(f"{error}\nrecord the examples anew: python -m tests.tools.record_examples; make docs")


def test_a_running_car_says_and_answers_what_is_written(runtime: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    with interface_car(runtime) as car:
        now = recorded(car.everything())
    _check(now)
    written = examples()
    assert {verb: asked.command.keys() for verb, asked in now.asked.items()} == {
        verb: asked.command.keys() for verb, asked in written.asked.items()
    }
    assert now.refused.reply == written.refused.reply


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
    assert {each["action"] for each in document["operations"].values()} == {"send", "receive"}
