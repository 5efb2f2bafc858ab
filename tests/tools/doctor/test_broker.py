"""The broker's check against a real Mosquitto: what it refuses is said with the remedy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.services.bridge.conftest import MakeMosquitto, make_mosquitto
from tests.services.bridge.kit import PREFIX, Client, free_port
from tests.tools.doctor.conftest import MakeCar, found, levels

__all__ = ["make_mosquitto"]

RIGHTS = """\
user car
topic readwrite smartcar/testcar/#
user deaf
topic write smartcar/testcar/#
user mute
topic read smartcar/testcar/#
"""


@pytest.fixture
def port(make_mosquitto: MakeMosquitto, tmp_path: Path) -> int:
    """A broker with three accounts; each password is the account's name."""
    passwords, rights = tmp_path / "passwords", tmp_path / "acl"
    passwords.touch(0o600)
    for name in ("car", "deaf", "mute"):
        subprocess.run(["mosquitto_passwd", "-b", passwords, name, name], check=True)
        (tmp_path / name).write_text(name)
    rights.write_text(RIGHTS)
    return make_mosquitto(f"allow_anonymous false\npassword_file {passwords}\nacl_file {rights}").port


def account(tmp_path: Path, port: int, user: str, **more: object) -> dict[str, object]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "username": user,
        "password_file": tmp_path / user,
        **more,
    }


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_an_account_with_all_rights_is_well(
    make_car: MakeCar, port: int, tmp_path: Path, protocol: str
) -> None:
    [finding] = found("broker", make_car(mqtt=account(tmp_path, port, "car", protocol=protocol)))
    assert finding.level == "ok", finding
    assert "as car" in finding.sentence


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("user", ["deaf", "mute"])
def test_a_missing_right_is_an_error_that_names_the_topics(
    make_car: MakeCar, port: int, tmp_path: Path, user: str, protocol: str
) -> None:
    findings = found("broker", make_car(mqtt=account(tmp_path, port, user, protocol=protocol)))
    assert set(levels(findings)) == {"error"}
    assert all("smartcar/testcar/#" in finding.remedy for finding in findings)


def test_a_wrong_password_is_said(make_car: MakeCar, port: int, tmp_path: Path) -> None:
    (tmp_path / "car").write_text("wrong")
    [finding] = found("broker", make_car(mqtt=account(tmp_path, port, "car")))
    assert finding.level == "error"
    assert "refused the login as 'car'" in finding.sentence
    assert "mqtt.username" in finding.remedy


def test_a_broker_that_is_not_there_is_said(make_car: MakeCar) -> None:
    [finding] = found("broker", make_car(mqtt={"host": "127.0.0.1", "port": free_port()}))
    assert finding.level == "error"
    assert "No broker answers" in finding.sentence


def test_without_a_broker_nothing_is_wrong(make_car: MakeCar) -> None:
    assert levels(found("broker", make_car())) == ["ok"]


def test_nothing_stays_with_the_broker(make_car: MakeCar, port: int, tmp_path: Path) -> None:
    found("broker", make_car(mqtt=account(tmp_path, port, "car")))
    with Client(port, login=("car", "car")) as client:
        client.subscribe("#").publish("last", "after all that is retained")
        assert [each.topic for each in (client.wait("last"), *client.inbox.messages)][1:] == [f"{PREFIX}last"]
