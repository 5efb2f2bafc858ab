"""The installed car: events reach another machine; killed, hung, crashing, it is back, or visibly failed."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request

import pytest

from services.catalogue import SERVICES
from tests.conftest import wait_for
from tests.system.installed import UNITS, Car, eventually

pytestmark = pytest.mark.system


@pytest.mark.quick
def test_it_comes_up_with_the_machine(running: Car) -> None:
    assert running.machine.run("systemctl", "is-active", "smartcar.target").stdout == "active\n"
    assert running.machine.run("systemctl", "is-enabled", "smartcar.target").stdout == "enabled\n"
    for service in SERVICES:
        running.wait_state(service, "ready")
        assert running.unit(service, "NRestarts") == "0"
        assert running.unit(service, "User") == "smartcar"


@pytest.mark.quick
def test_events_reach_a_client_on_another_machine(running: Car) -> None:
    event = json.loads(running.mosquitto_sub("-t", "smartcar/+/event/reading", "-C", "1"))
    assert event["text"]
    assert "Connection Refused" in running.mosquitto_sub("-t", "#", "-C", "1", "-P", "wrong")


@pytest.mark.quick
def test_people_of_the_group_use_it_as_they_are_used_to(running: Car) -> None:
    shown = running.machine.run("smartcar", "status", user="pi")
    assert re.search(r"https://\S+\?token=", shown.stdout)
    running.machine.run("smartcar", "send", "capture.snapshot", user="pi")
    assert running.machine.run("smartcar", "events", "-n", "3", user="pi").stdout


@pytest.mark.quick
@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_the_others_go_on(running: Car, service: str) -> None:
    before = running.wait_until_up()
    running.signal("KILL", before[service])
    eventually(lambda: running.pids()[service] not in (0, before[service]), f"{service} back")
    after = running.wait_until_up()
    assert {name for name in SERVICES if before[name] != after[name]} == {service}
    running.wait_state(service, "ready")


def test_hung_services_are_ended_by_their_watchdogs(running: Car) -> None:
    before = running.wait_until_up()
    running.signal("STOP", *before.values())
    eventually(
        lambda: all(pid not in (0, before[name]) for name, pid in running.pids().items()),
        "all of them back",
        60,
    )
    for service in SERVICES:
        running.machine.says(UNITS[service], "Watchdog timeout")
        running.wait_state(service, "ready")


def test_one_that_hangs_holds_up_nobody(running: Car) -> None:
    before = running.wait_until_up()
    running.signal("STOP", before["pad"])
    assert json.loads(running.mosquitto_sub("-t", "smartcar/+/event/reading", "-C", "1"))
    eventually(lambda: running.pids()["pad"] not in (0, before["pad"]), "the pad back")
    after = running.wait_until_up()
    assert {name for name in SERVICES if before[name] != after[name]} == {"pad"}


def test_a_stranger_gets_nothing(running: Car) -> None:
    """Neither a local user outside the group nor a browser on another machine."""
    machine = running.machine
    for path in (
        "/run/smartcar/recognizer/state", "/run/smartcar/overlay/address", "/var/lib/smartcar/overlay/token",
        "/var/lib/smartcar/recognizer/journal.sqlite3", "/var/lib/smartcar/models/active",
        "/etc/smartcar/ca.key", "/etc/smartcar/page.key", "/etc/smartcar/mqtt-password",
        "/etc/smartcar/owner-password", "/etc/mosquitto/smartcar/passwords",
        "/etc/mosquitto/smartcar/broker.key",
    ):  # fmt: skip
        machine.run("test", "-e", path)
        assert machine.run("test", "-r", path, check=False, user="stranger").returncode == 1, path
    for words in (("send", "capture.pause"), ("model", "rollback"), ("pad", "erase")):
        assert machine.run("smartcar", *words, check=False, user="stranger").returncode != 0
    running.wait_state("capture", "ready")
    trusting = ssl.create_default_context(cafile=str(machine.root / "etc/smartcar/ca.crt"))
    for path in ("", "api/pad", "?token=wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"https://{machine.address}:8080/{path}", context=trusting, timeout=10)
        assert refused.value.code == 401
    with pytest.raises(
        urllib.error.URLError, match="refused"
    ):  # beyond the machine there is the broker with TLS alone
        urllib.request.urlopen(f"http://{machine.address}:1883/", timeout=10)


@pytest.mark.quick
def test_the_page_opens_with_its_token(running: Car) -> None:
    token = (running.machine.root / "var/lib/smartcar/overlay/token").read_text().strip()
    trusting = ssl.create_default_context(cafile=str(running.machine.root / "etc/smartcar/ca.crt"))
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=trusting), urllib.request.HTTPCookieProcessor()
    )
    page = f"https://{running.machine.address}:8080/?token={token}"
    assert wait_for(lambda: opener.open(page, timeout=10).status, 20) == 200


def test_no_sandbox_lets_more_through_than_it_should(running: Car) -> None:
    """Each service sees its own folders alone, and only those that talk to others have a network."""
    for service, pid in running.wait_until_up().items():
        inside = ("nsenter", "-t", str(pid), "-m", "-n", "--")
        interfaces = running.machine.run(*inside, "ls", "/sys/class/net", check=False).stdout
        devices = running.machine.run("nsenter", "-t", str(pid), "-n", "cat", "/proc/net/dev").stdout
        assert ("host0" in devices) == (service in ("bridge", "overlay", "updater")), (service, interfaces)
        write = running.machine.run(
            *inside, "sh", "-c", ": >/etc/x || : >/opt/smartcar/x || ls /home/pi/smartcar", check=False
        )
        assert write.returncode != 0, service
