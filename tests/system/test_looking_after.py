"""Looking after the installed car: the doctor, the journal's fields, restarts, a start that is timed."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest

from services.catalogue import SERVICES
from tests.system.installed import Car, doctor, eventually
from tools.doctor.table import CHECKS

pytestmark = pytest.mark.system


@pytest.mark.quick
@pytest.mark.parametrize("user", ["", "pi"], ids=["root", "pi"])
def test_a_car_that_is_well_has_no_error(running: Car, user: str) -> None:
    for service in SERVICES:
        running.wait_state(service, "ready")
    found = doctor(running, user=user)
    assert list(found) == list(CHECKS)
    wrong = [finding for findings in found.values() for finding in findings if finding["level"] == "error"]
    assert wrong == []
    assert "start on boot" in found["units"][0]["sentence"]
    if not user:
        assert "as car" in found["broker"][0]["sentence"]


def test_a_stranger_is_told_which_group_is_missing(running: Car) -> None:
    found = doctor(running, "permissions", user="stranger")
    assert "not in the group smartcar" in found["permissions"][0]["sentence"]
    assert "usermod -aG smartcar stranger" in found["permissions"][0]["remedy"]


def test_a_bundle_has_the_journal_and_no_secret(running: Car) -> None:
    running.machine.run("smartcar", "doctor", "--bundle", "/root/report.tar.gz", check=False)
    with tarfile.open(running.machine.root / "root/report.tar.gz") as archive:
        files = [archive.extractfile(name) for name in archive.getnames()]
        whole = "".join(file.read().decode() for file in files if file is not None)
    assert "smartcar-recognizer[" in whole
    token = (running.machine.root / "var/lib/smartcar/overlay/token").read_text().strip()
    key = running.secret("page.key").splitlines()[1]
    for secret in (token, key, running.secret("mqtt-password"), running.secret("owner-password")):
        assert secret not in whole


# the journal


@pytest.mark.quick
def test_the_journal_says_who_what_and_about_which_event(running: Car) -> None:
    def entries(*matches: str) -> list[dict[str, Any]]:
        shown = running.machine.run("journalctl", "--no-pager", "-o", "json", *matches).stdout
        return [json.loads(line) for line in shown.splitlines()]

    eventually(lambda: entries("_SYSTEMD_UNIT=smartcar-recognizer.service", "PRIORITY=6"), "an entry")
    eventually(
        lambda: any("SMARTCAR_EVENT" in entry for entry in entries("SMARTCAR_SERVICE=recognizer")), "an event"
    )
    event = next(entry for entry in entries("SMARTCAR_SERVICE=recognizer") if "SMARTCAR_EVENT" in entry)
    assert event["MESSAGE"].split()[0] in ("new", "update", "end")
    assert event["SMARTCAR_MODEL"].startswith("digits")
    assert event["SMARTCAR_FRAME"].isdigit()
    assert event["SYSLOG_IDENTIFIER"] == "smartcar-recognizer"
    assert event["CODE_FILE"].endswith("services/recognizer/service.py")
    assert {entry["SMARTCAR_SERVICE"] for entry in entries("SMARTCAR_STATE=ready")} == set(SERVICES)


@pytest.mark.quick
def test_status_counts_restarts_as_systemd_does(running: Car) -> None:
    before = running.status()["pad"]["restarts"]
    running.signal("KILL", running.wait_until_up()["pad"])
    eventually(lambda: running.status()["pad"]["restarts"] == before + 1, "one restart more")
    assert running.unit("pad", "NRestarts") == str(before + 1)


def test_a_start_is_timed_and_every_service_is_back(running: Car) -> None:
    measured = running.machine.run(
        "smartcar", "bench", "boot", "--installed", "--rounds", "1", "--json", within_s=300
    ).stdout
    figures = {figure["name"]: figure["value"] for figure in json.loads(measured)["figures"]}
    assert figures["car to first reading, median"] > 0
    assert figures["car to first event at the broker, median"] > 0
    for service in SERVICES:
        assert 0 < figures[f"ready again after SIGKILL, {service}, longest"] < 60
    running.wait_until_up()
