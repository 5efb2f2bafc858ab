"""The command line itself: quick, and clear about what it can't do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.catalogue import COMMANDS, SERVICES, TOPICS
from services.config import Settings
from tests.conftest import REPOSITORY
from tests.tools.car import objects, smartcar

HEAVY = {"numpy", "cv2", "zmq", "pydantic", "rich.table", "fastapi", "ai_edge_litert", "tensorflow"}


def one_sentence(printed: str) -> bool:
    return len(printed.strip().splitlines()) == 1 and "Traceback" not in printed


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    script = "import sys; sys.argv = ['smartcar', '--help']; import atexit; from tools.cli import main; "
    script += "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in ("up", "run", "status", "events", "read", "view", "send", "config", "train", "evaluate"):
        assert f"\n  {name} " in answer.stdout
    assert HEAVY.isdisjoint(answer.stderr.split())


def test_version(runtime: Path) -> None:
    answer = smartcar(runtime, "--version")
    assert answer.returncode == 0
    assert answer.stdout.startswith("smartcar ")


def test_an_unknown_service_is_named_beside_those_there_are(runtime: Path) -> None:
    answer = smartcar(runtime, "run", "camera")
    assert answer.returncode == 2
    assert one_sentence(answer.stderr)
    assert ", ".join(SERVICES) in answer.stderr


# topics


def test_topics_is_the_table(runtime: Path) -> None:
    rows = objects(smartcar(runtime, "topics", "--json").stdout)
    assert [(row["topic"], row["message"], row["owner"]) for row in rows] == [
        (row.name, row.message.__name__, row.owner) for row in TOPICS.values()
    ]
    for row, topic in zip(rows, TOPICS.values(), strict=True):
        assert (row["mqtt"] or {}).get("topic") == (topic.mirror.topic if topic.mirror else None)


def test_topics_for_people_has_a_line_a_topic(runtime: Path) -> None:
    lines = smartcar(runtime, "topics").stdout.splitlines()
    for row in TOPICS.values():
        assert any(line.startswith(f"{row.name} ") and row.about in line for line in lines), row.name


def test_watching_an_unknown_topic_names_those_there_are(runtime: Path) -> None:
    answer = smartcar(runtime, "watch", "frames")
    assert answer.returncode == 1
    assert one_sentence(answer.stderr)
    assert all(row.name in answer.stderr for row in TOPICS.values())


# a car that doesn't run


def test_status_of_a_car_that_does_not_run(runtime: Path) -> None:
    answer = smartcar(runtime, "status", "--json")
    assert answer.returncode == 1
    said = [(row["service"], row["state"], row["pid"]) for row in objects(answer.stdout)]
    assert said == [(name, "stopped", None) for name in SERVICES]
    assert "smartcar up" in smartcar(runtime, "status").stdout


def test_events_of_a_car_that_never_ran_are_none(runtime: Path) -> None:
    answer = smartcar(runtime, "events", "--json")
    assert (answer.returncode, answer.stdout) == (0, "")


def test_a_command_to_a_service_that_does_not_run_says_so(runtime: Path) -> None:
    answer = smartcar(runtime, "send", "capture.pause", "--deadline", "0.2")
    assert answer.returncode == 1
    assert one_sentence(answer.stderr)
    assert "capture did not answer" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["capture.stop"], "There is no command capture.stop."),
        (["capture.source"], "name: Field required"),
        (["capture.source", "front"], "'front' is no key=value pair"),
        (["capture.pause", '{"id": }'], "The arguments are no JSON"),
    ],
)
def test_a_command_that_can_not_be_sent_is_one_sentence(
    runtime: Path, arguments: list[str], said: str
) -> None:
    answer = smartcar(runtime, "send", *arguments)
    assert answer.returncode == 1
    assert one_sentence(answer.stderr)
    assert said in answer.stderr


def test_send_without_a_verb_lists_the_commands(runtime: Path) -> None:
    rows = objects(smartcar(runtime, "send", "--json").stdout)
    assert [row["verb"] for row in rows] == list(COMMANDS)
    assert next(row for row in rows if row["verb"] == "capture.source")["arguments"] == ["name"]


def test_a_window_without_a_screen_is_one_sentence(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    answer = smartcar(runtime, "view")
    assert answer.returncode == 1
    assert one_sentence(answer.stderr)
    assert "no screen" in answer.stderr


# config


@pytest.mark.parametrize("command", [["config", "check"], ["up"], ["status"], ["run", "capture"]])
def test_a_mistake_in_the_configuration_is_one_sentence_with_its_line(
    runtime: Path, command: list[str]
) -> None:
    file = runtime / "car.toml"
    file.write_text("[capture]\nhertz = 10\nspeed = 3\n")
    answer = smartcar(runtime, *command, "--config", str(file))
    assert answer.returncode != 0
    assert one_sentence(answer.stderr)
    assert f"{file}, line 3" in answer.stderr
    assert "capture.speed" in answer.stderr


def test_the_configuration_may_be_named_before_the_command_too(runtime: Path) -> None:
    file = runtime / "car.toml"
    file.write_text("[overlay]\njpeg_quality = 33\n")
    for arguments in (["--config", str(file), "config", "show"], ["config", "show", "--config", str(file)]):
        assert "\njpeg_quality = 33\n" in smartcar(runtime, *arguments).stdout


def test_a_missing_configuration_file_is_one_sentence(runtime: Path) -> None:
    answer = smartcar(runtime, "config", "check", "--config", "/no/such.toml")
    assert answer.returncode == 1
    assert one_sentence(answer.stderr)
    assert "/no/such.toml" in answer.stderr


def test_what_config_show_prints_is_a_configuration(runtime: Path) -> None:
    file = runtime / "car.toml"
    file.write_text(smartcar(runtime, "config", "show").stdout)
    answer = smartcar(runtime, "config", "check", "--config", str(file))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert str(file) in answer.stdout


def test_config_show_as_json_and_its_schema_agree(runtime: Path) -> None:
    (shown,) = objects(smartcar(runtime, "config", "show", "--json").stdout)
    schema = json.loads(smartcar(runtime, "config", "schema").stdout)
    assert list(shown) == list(schema["properties"]) == list(Settings.model_fields)
