"""What the docs give to copy works as it stands there, with a whole car on a real broker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages.message import new_ulid
from messages.models import ENDED
from models.bundle.archive import pack
from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import CAR, PREFIX, find_mosquitto
from tests.tools.interface.interface_car import InterfaceCar, interface_car

DOCS = REPOSITORY / "docs"
CHANGES = ("model.install", "model.activate", "model.rollback")
"""Commands after which the model changes for a while."""


@pytest.fixture(scope="module")
def car() -> Iterator[InterfaceCar]:
    if find_mosquitto() is None or shutil.which("mosquitto_pub") is None:
        pytest.skip("Mosquitto and its clients are not installed (apt install mosquitto mosquitto-clients)")
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as folder, interface_car(Path(folder)) as made:
        yield made


def blocks(document: str, language: str) -> list[str]:
    """The code of this language in a page, with the car's name as it is here."""
    text = (DOCS / document).read_text(encoding="utf-8").replace("mycar", CAR)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def lines(document: str, program: str) -> list[str]:
    """The lines to copy that use the program; one that goes on in the next is one."""
    whole = "\n".join(blocks(document, "sh")).replace("|\n", "| ").replace("\\\n", "")
    return [line for line in whole.splitlines() if program in line and "…" not in line]


def shell(car: InterfaceCar, folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """Run it as a person would whose broker is the default one."""
    for program in ("mosquitto_pub", "mosquitto_sub"):
        script = folder / program
        script.write_text(f'#!/bin/sh\nexec {shutil.which(program)} -h 127.0.0.1 -p {car.port} "$@"\n')
        script.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, timeout=30
    )


def test_every_line_that_sends_a_command_gets_its_answer(car: InterfaceCar, tmp_path: Path) -> None:
    """Among them: one that installs, one that takes an offer, one that activates, one that rolls back."""
    (tmp_path / "digits.zip").write_bytes(pack(car.bundle("digits", 14)))
    car.install(car.bundle("digits", 11))
    car.wait("event/model", lambda each: each["step"] == "active")
    car.publish(str(car.bundle("digits", 13).folder), "--wait", "0")
    copied = lines("mqtt.md", "mosquitto_pub")
    done = set()
    for number, line in enumerate(copied):
        command_id = f"copied-{number}"
        line = re.sub(r'"id": "[^"]+"', f'"id": "{command_id}"', line)
        verb = ".".join(re.findall(rf"smartcar/{CAR}/cmd/(\w+)/(\w+)", line)[0])
        if verb == "model.install":  # going back has pinned the model
            car.send("model.unpin", {"id": new_ulid()})
        ran = shell(car, tmp_path, line)
        assert ran.returncode == 0, (line, ran.stderr)
        reply = car.answer(verb, command_id)
        if verb == "model.remove":  # the digest is that of another day
            assert reply["error"]["code"] == "unknown_model"
            continue
        assert reply["status"] == "ok", (line, reply)
        if verb in CHANGES:
            assert _end(car, command_id)["step"] == "active", line
        done.add((verb, "offer" in line))
    assert done >= {(verb, False) for verb in CHANGES} | {("model.install", True)}


def _end(car: InterfaceCar, change: str) -> dict[str, Any]:
    """How a change of the model ended."""
    came = car.wait("event/model", lambda each: each["change"] == change and each["step"] in ENDED)
    end: dict[str, Any] = json.loads(came.payload)
    return end


def test_lines_that_look_at_the_car_show_it(car: InterfaceCar, tmp_path: Path) -> None:
    car.send("capture.resume", {"id": "look-1"})
    car.wait("image/reading", lambda _: True)
    [picture] = [line for line in lines("mqtt.md", "mosquitto_sub") if "reading.jpg" in line]
    assert shell(car, tmp_path, picture).returncode == 0
    assert (tmp_path / "reading.jpg").read_bytes().startswith(b"\xff\xd8")
    [status] = [line for line in lines("mqtt.md", "mosquitto_sub") if "/status'" in line]
    shown = shell(car, tmp_path, status.replace("-v", "-v -C 1")).stdout
    assert shown.startswith(f"smartcar/{CAR}/status {{".encode())


def python(car: InterfaceCar, number: int) -> str:
    """A program of the recipes, for this broker."""
    return blocks("recipes.md", "python")[number].replace("1883", str(car.port))


def test_the_python_program_that_sends_a_command_prints_the_answer(car: InterfaceCar) -> None:
    ran = subprocess.run([sys.executable, "-c", python(car, 1)], capture_output=True, text=True, timeout=30)
    assert re.match(r"\{'id': '.+', 'status': 'ok', 'data': \{'revision': \d+", ran.stdout), ran.stderr


def test_the_python_program_that_listens_prints_codes(car: InterfaceCar, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", python(car, 0)], stdout=out, stderr=out)
    try:
        while not output.read_text().endswith("\n") and process.poll() is None:
            _see_anew(car)
    finally:
        process.kill()
        process.wait()
    shown = output.read_text()
    assert re.match(r"[0-9?]+ \d+%\n", shown), shown


def _see_anew(car: InterfaceCar) -> None:
    """Codes are in view, leave, and come into view again."""

    def in_view() -> bool:
        phases = [each["phase"] for each in car.heard_on(f"{PREFIX}event/reading")]
        return phases.count("new") > phases.count("end")

    for verb in ("capture.resume", "capture.pause", "capture.resume"):
        car.send(verb, {"id": new_ulid()})
        wait_for(in_view if verb == "capture.resume" else lambda: not in_view(), what=verb)


def test_the_flow_for_node_red_is_whole() -> None:
    [text] = blocks("recipes.md", "json")
    nodes = {each["id"]: each for each in json.loads(text)}
    broker = next(each for each in nodes.values() if each["type"] == "mqtt-broker")
    [listener] = [each for each in nodes.values() if each["type"] == "mqtt in"]
    assert listener["broker"] == broker["id"]
    targets = {target for each in nodes.values() for wire in each.get("wires", ()) for target in wire}
    assert targets < nodes.keys()
