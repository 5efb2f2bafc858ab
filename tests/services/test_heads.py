"""The class heads are the services' contracts: light to read, short, in step with all that derives."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from operator import attrgetter
from typing import get_type_hints

import pytest

from messages.command import Door, verbs
from services.catalogue import COMMANDS, SERVICES, TOPICS
from services.config import Settings
from tests.conftest import REPOSITORY

HEAVY = (
    "cv2",
    "numpy",
    "paho.mqtt.client",
    "fastapi",
    "uvicorn",
    "ai_edge_litert",
    "cryptography",
    "asyncio",
    "ssl",
)
SCREEN = 50
"""Lines of code."""


def test_all_heads_can_be_read_without_what_is_heavy() -> None:
    program = f"import sys, services.catalogue; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_the_updater_waits_for_models_without_what_models_need() -> None:
    parts = ("commands", "fetch", "inbox", "offers", "preparation", "recognizer", "service", "state")
    imports = "; ".join(f"import services.updater.{part}" for part in parts)
    program = f"import sys; {imports}; print([name for name in {HEAVY[:2]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_head_fits_one_screen(name: str) -> None:
    """From `class` to the end of the last declaration."""
    head = ast.parse(inspect.getsource(SERVICES[name])).body[0]
    assert isinstance(head, ast.ClassDef)
    declared = [each for each in head.body if not isinstance(each, ast.FunctionDef)]
    assert (declared[-1].end_lineno or 0) - head.lineno < SCREEN
    assert {"name", "about"} <= {
        target.id
        for each in declared
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }


@pytest.mark.parametrize("verb", COMMANDS)
def test_each_command_has_one_service_and_a_method_that_takes_it(verb: str) -> None:
    command = COMMANDS[verb]
    handlers = {name: head.handles[command] for name, head in SERVICES.items() if command in head.handles}
    assert handlers.keys() == {command.service}
    method = handlers[command.service]
    if "." not in method:  # else it belongs to a part that `start` builds
        taken = get_type_hints(attrgetter(method)(SERVICES[command.service]))
        assert issubclass(command, next(iter(taken.values())))


def test_each_topic_has_the_owner_whose_head_names_it() -> None:
    named = [row.name for head in SERVICES.values() for row in head.publishes]
    assert sorted([*named, "health"]) == sorted(TOPICS)
    for name, head in SERVICES.items():
        assert all(TOPICS[row.name].owner == name for row in head.publishes)


def test_whom_a_service_needs_there_is_and_takes_what_it_asks() -> None:
    for name, head in SERVICES.items():
        for peer, asked in head.peers.items():
            assert peer != name
            assert set(asked) <= set(SERVICES[peer].handles), f"{name} asks {peer}"


def test_the_default_of_mqtt_commands_is_what_may_come_through_that_door() -> None:
    assert Settings().mqtt.commands == verbs(Door.MQTT)
    for verb, command in COMMANDS.items():
        assert not {Door.MQTT, Door.MQTT_OPT_IN} <= set(command.doors), verb


def test_each_section_of_the_settings_is_one_services() -> None:
    sections = {head.section for head in SERVICES.values() if head.section is not None}
    assert sections <= {field.annotation for field in Settings.model_fields.values()}
