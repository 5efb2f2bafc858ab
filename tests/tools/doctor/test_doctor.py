"""`smartcar doctor` as one calls it: beside a running car, without one, and with what is broken."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.supervision import FailureNote
from tests.conftest import wait_for
from tests.services.bridge.kit import free_port
from tests.tools.car import Car, objects, running_car, smartcar
from tools.doctor.table import CHECKS

LEVELS = {"ok", "warning", "error"}


@pytest.fixture(scope="module")
def car() -> Iterator[Car]:
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    with running_car(folder) as car:
        car.wait_ready()
        yield car
    shutil.rmtree(folder, ignore_errors=True)


def test_beside_a_running_car_every_check_has_a_line_and_none_is_an_error(car: Car) -> None:
    answer = smartcar(car.runtime, "doctor", "--json")
    lines = objects(answer.stdout)
    assert list(dict.fromkeys(line["check"] for line in lines)) == list(CHECKS)
    assert {line["level"] for line in lines} <= LEVELS
    assert [line for line in lines if line["level"] == "error"] == []
    assert answer.returncode == 0
    said = {line["check"]: line["sentence"] for line in lines}
    assert "golden digits" in next(line["sentence"] for line in lines if line["check"] == "model")
    assert "commands and events may pass" in said["broker"]
    assert "opens with its token and not without" in said["page"]
    assert "frames a second" in said["camera"]
    assert all(line["remedy"] for line in lines if line["level"] != "ok")


def test_for_people_each_remedy_stands_below_its_line(car: Car) -> None:
    answer = smartcar(car.runtime, "doctor", "services", "clock")
    assert answer.stdout.count("→") == answer.stdout.count("warning  ")
    assert "well: capture, recognizer, pad" in answer.stdout


def test_it_leaves_the_car_as_it_was(car: Car) -> None:
    before = car.status()
    smartcar(car.runtime, "doctor")
    after = car.status()
    for name, status in after.items():
        assert (status["state"], status["pid"]) == ("ready", before[name]["pid"])


def test_a_camera_that_is_switched_off_is_said_and_is_no_fault(car: Car) -> None:
    assert smartcar(car.runtime, "send", "capture.camera", '{"on": false}').returncode == 0
    wait_for(lambda: "No frames come" in car.status()["recognizer"]["reason"])
    assert smartcar(car.runtime, "status").returncode == 0, "all are well"
    lines = objects(smartcar(car.runtime, "doctor", "services", "camera", "--json").stdout)
    assert {line["level"] for line in lines} == {"ok"}
    assert "The camera is switched off" in next(
        line["sentence"] for line in lines if line["check"] == "camera"
    )
    assert smartcar(car.runtime, "send", "capture.camera", '{"on": true}').returncode == 0
    wait_for(lambda: {status["state"] for status in car.status().values()} == {"ready"})


def test_without_a_car_it_says_so_and_tries_the_source_itself(runtime: Path) -> None:
    answer = smartcar(
        runtime, "doctor", "services", "camera", "page", "--json", OVERLAY__PORT=str(free_port())
    )
    said = {line["check"]: line for line in objects(answer.stdout)}
    assert said["services"]["level"] == "warning"
    assert "smartcar up" in said["services"]["remedy"]
    assert "tried here" in said["camera"]["sentence"]
    assert "is free" in said["page"]["sentence"]
    assert answer.returncode == 0


@pytest.mark.parametrize(
    ("check", "settings", "says"),
    [
        ("camera", {"CAPTURE__SOURCE": "/dev/video77"}, "There is no camera /dev/video77"),
        ("camera", {"CAPTURE__SOURCE": "folder:/no/such"}, "There is no folder /no/such"),
        ("model", {"RECOGNIZER__BUNDLE": "/no/such/bundle"}, "the model of recognizer.bundle can't be used"),
        ("model", {"MODELS__FOLLOW": '["digits"]'}, "models.follow names digits, but no key is trusted"),
        ("model", {"MODELS__TRUST": '["the lab"]'}, "models.trust"),
        ("configuration", {"CAPTURE__HERTZ": "fast"}, "environment variable SMARTCAR_CAPTURE__HERTZ"),
    ],
)
def test_what_is_broken_is_an_error_with_a_remedy(
    runtime: Path, check: str, settings: dict[str, str], says: str
) -> None:
    answer = smartcar(runtime, "doctor", check, "--json", **settings)
    assert answer.returncode == 1
    wrong = [line for line in objects(answer.stdout) if line["level"] == "error"]
    assert says in wrong[0]["sentence"]
    assert wrong[0]["remedy"]


def test_a_service_that_failed_is_an_error_in_its_own_words(runtime: Path) -> None:
    FailureNote.write(runtime / "run", "capture", "there is no disk; make room")
    answer = smartcar(runtime, "doctor", "services", "--json")
    [failed, _] = objects(answer.stdout)
    assert failed == {
        "check": "services",
        "level": "error",
        "sentence": "capture: there is no disk",
        "remedy": "make room",
    }


def test_an_unknown_check_is_refused_with_those_there_are(runtime: Path) -> None:
    answer = smartcar(runtime, "doctor", "wheels")
    assert answer.returncode == 1
    assert "There is no check wheels" in answer.stderr
    assert "broker" in answer.stderr


# the bundle


def test_a_bundle_has_what_a_report_needs_and_no_secret(runtime: Path) -> None:
    secrets = {"password": "correct-horse", "key": "MIIBVAIBADAN-very-secret", "login": "s3cr3t-camera"}
    (runtime / "password").write_text(f"{secrets['password']}\n")
    (runtime / "key").write_text(
        f"-----BEGIN PRIVATE KEY-----\n{secrets['key']}\n-----END PRIVATE KEY-----\n"
    )
    token = runtime / "state" / "overlay" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("F2xMC-yxQscQ9YdQ4F67cVi_KNp3lvPR-cpOpTKKK10\n")
    stream = f"rtsp://admin:{secrets['login']}@127.0.0.1:1/live"
    FailureNote.write(runtime / "run", "capture", f"{stream} with {token.read_text()} and {secrets}")
    report = runtime / "report.tar.gz"
    report.write_text("an older one, which anybody may read")
    report.chmod(0o644)
    answer = smartcar(
        runtime, "doctor", "versions", "services", "camera", "--bundle", str(report),
        CAPTURE__SOURCE=stream, MQTT__HOST="127.0.0.1", MQTT__USERNAME="car", MQTT__TLS="true",
        MQTT__PASSWORD_FILE=str(runtime / "password"), MQTT__KEY_FILE=str(runtime / "key"),
    )  # fmt: skip
    assert str(report) in answer.stdout
    assert report.stat().st_mode & 0o777 == 0o600
    with tarfile.open(report) as archive:
        names = {Path(name).name for name in archive.getnames()}
        files = [archive.extractfile(name) for name in archive.getnames()]
        whole = "".join(file.read().decode() for file in files if file is not None)
    assert {"doctor.jsonl", "status.json", "settings.toml", "versions.txt", "failures.json"} <= names
    assert "pydantic" in whole
    assert "rtsp://127.0.0.1:1/live" in whole
    for secret in (*secrets.values(), token.read_text().strip()):
        assert secret not in whole


def test_a_bundle_that_can_not_be_written_is_one_sentence(runtime: Path) -> None:
    answer = smartcar(runtime, "doctor", "versions", "--bundle", "/no/such/report.tar.gz")
    assert answer.returncode == 1
    assert "name another place" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
