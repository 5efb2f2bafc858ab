"""What goes wrong around the car: it is said, nothing is lost, and the rest goes on."""

from __future__ import annotations

import json

import pytest

from services.catalogue import SERVICES
from tests.system.installed import UNITS, Car, eventually

pytestmark = pytest.mark.system


def test_a_service_that_crashes_at_each_start_fails_visibly(fresh: Car) -> None:
    override = fresh.machine.root / "etc/systemd/system/smartcar-pad.service.d"
    override.mkdir(parents=True)
    (override / "crash.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/false\n")
    before = fresh.pids()
    fresh.machine.run("systemctl", "daemon-reload")
    fresh.machine.run("systemctl", "restart", "smartcar-pad", check=False)
    eventually(lambda: fresh.unit("pad", "ActiveState") == "failed", "the pad given up", 90)
    assert fresh.unit("pad", "NRestarts") in ("19", "20")  # newer systemds do not count the last
    assert "smartcar-pad.service" in fresh.machine.run("systemctl", "--failed", "--plain").stdout
    after = fresh.pids()
    assert {name for name in SERVICES if before[name] != after[name]} == {"pad"}
    assert json.loads(fresh.mosquitto_sub("-t", "smartcar/+/event/reading", "-C", "1"))


def test_wrong_settings_are_said_once_and_not_tried_again(fresh: Car) -> None:
    file = fresh.machine.root / "etc/smartcar/smartcar.toml"
    file.write_text("[capture]\nsource = 'scene:'\nhetrz = 10\n")
    fresh.machine.run("systemctl", "restart", "smartcar-capture", check=False)
    eventually(lambda: fresh.unit("capture", "ActiveState") == "failed", "capture given up")
    assert (fresh.unit("capture", "NRestarts"), fresh.unit("capture", "ExecMainStatus")) == ("0", "78")
    fresh.machine.says(UNITS["capture"], "/etc/smartcar/smartcar.toml, line 3: unknown key capture.hetrz")
    refused = fresh.machine.run("smartcar", "install", check=False)
    assert refused.returncode == 1
    assert "line 3: unknown key capture.hetrz" in refused.stderr


def test_a_broken_file_on_the_card_is_left_out_and_said(fresh: Car) -> None:
    card = fresh.machine.root / "boot/firmware/smartcar.toml"
    card.parent.mkdir(parents=True)
    card.write_text('[car]\nname = "car7"\n')
    fresh.machine.run("systemctl", "restart", "smartcar.target")
    eventually(
        lambda: fresh.mosquitto_sub("-t", "smartcar/car7/status", "-C", "1", "-W", "5"), "car7 on MQTT"
    )
    card.write_text('[car]\nname = "car7"\n\0\0\0')
    fresh.machine.run("systemctl", "restart", "smartcar.target")
    found = fresh.wait_state("capture", "ready")
    assert "/boot/firmware/smartcar.toml: not valid TOML" in found["details"]["settings"]
    assert fresh.machine.run("smartcar", "config", "check", check=False).returncode == 1
