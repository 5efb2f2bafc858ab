"""What the doctor finds on an installed car, and that looking changes nothing."""

from __future__ import annotations

import pytest

from services.catalogue import SERVICES
from tests.system.installed import UNITS, Car, doctor, levels

pytestmark = pytest.mark.system


def test_a_service_that_was_stopped_or_masked_is_named(fresh: Car) -> None:
    fresh.machine.run("systemctl", "stop", UNITS["pad"])
    found = doctor(fresh, "units", "services")
    assert levels(found["units"]) == ["error"]
    assert "smartcar-pad.service is inactive" in found["units"][0]["sentence"]
    assert "error" in levels(found["services"])
    fresh.machine.run("systemctl", "stop", "smartcar.target")
    assert levels(doctor(fresh, "units")["units"]) == ["error"]


def test_a_password_that_the_broker_does_not_take_is_found(fresh: Car) -> None:
    (fresh.machine.root / "etc/smartcar/mqtt-password").write_text("wrong\n")
    [finding] = doctor(fresh, "broker")["broker"]
    assert finding["level"] == "error"
    assert "refused the login as 'car'" in finding["sentence"]


def test_looking_changes_nothing(fresh: Car) -> None:
    """Also as root, and while nothing runs: the services' files stay theirs."""
    fresh.machine.run("systemctl", "stop", "smartcar.target")
    doctor(fresh)
    strange = fresh.machine.run(
        "find", "/var/lib/smartcar", "/run/smartcar", "-mindepth", "2", "-not", "-user", "smartcar"
    ).stdout
    assert strange == ""
    fresh.machine.run("systemctl", "start", "smartcar.target")
    fresh.wait_until_up()
    for service in SERVICES:
        fresh.wait_state(service, "ready")
