"""Long and hard: a broker away for a thousand events, a full disk, a read-only one, 200 restarts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.catalogue import SERVICES
from tests.system.container import Container, container
from tests.system.installed import UNITS, Car, doctor, eventually, levels

pytestmark = pytest.mark.system

EVENTS = 1000
ROUNDS = 34
READ_TIME_AND_AGAIN = """
import sys
import zmq
from messages.pad_commands import PadErase, PadRecognize, PadWrite
from messages.rpc.clients import CommandClient
from services.config_file import load
client = CommandClient(zmq.Context(), load().paths.runtime)
for number in range(int(sys.argv[1])):
    for command in (PadErase(), PadWrite(digits=str(number % 10)), PadRecognize()):
        reply = client.send(command, 20)
        assert reply.status == "ok", reply
"""
"""Each round makes an event of the pad."""
STATE = "/var/lib/smartcar"


def test_a_thousand_events_without_a_broker_come_in_order_when_it_is_back(fresh: Car) -> None:
    machine = fresh.machine
    with fresh.listener("smartcar/+/event/pad") as heard:
        before = len(heard)
        machine.run("systemctl", "stop", "mosquitto")
        python = ("/opt/smartcar/current/bin/python", "-c", READ_TIME_AND_AGAIN, str(EVENTS))
        machine.run(*python, within_s=600)
        assert fresh.status()["bridge"]["state"] == "degraded"
        machine.run("systemctl", "start", "mosquitto")
        eventually(lambda: len(heard) >= before + EVENTS, f"{EVENTS} events", 120)
    sequences = list(dict.fromkeys(event["sequence"] for event in heard[before:]))
    assert sequences == sorted(sequences), "in their order"
    assert len(sequences) >= EVENTS


def small_disk(machine: Container, megabytes: int) -> None:
    """Have the car's state on a disk of its own."""
    machine.run("systemctl", "stop", "smartcar.target", *UNITS.values())
    machine.run("cp", "-a", STATE, "/tmp/state")
    machine.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}M,mode=750,gid=smartcar", "tmpfs", STATE)
    machine.run("sh", "-c", f"cp -a /tmp/state/. {STATE}")
    machine.run("systemctl", "start", "smartcar.target")


def test_a_full_disk_stops_no_reading_and_loses_no_event(fresh: Car) -> None:
    small_disk(fresh.machine, 24)
    fresh.wait_until_up()
    with fresh.listener("smartcar/+/event/reading") as heard:
        eventually(lambda: len(heard) > 2, "events")
        fresh.machine.run("sh", "-c", f"cat /dev/zero >{STATE}/filler", check=False)
        eventually(lambda: "full" in fresh.status()["recognizer"].get("reason", ""), "the full disk said", 60)
        shown = fresh.machine.run("smartcar", "watch", "reading", "-n", "5", "--json", within_s=30)
        assert len(shown.stdout.splitlines()) == 5
        assert all(fresh.pids().values()), "all go on"
        full_at = len(heard)
        fresh.machine.run("rm", f"{STATE}/filler")
        fresh.wait_state("recognizer", "ready", 60)
        eventually(lambda: len(heard) > full_at + 5, "events after it", 60)
    assert_none_is_missing(heard)


def assert_none_is_missing(heard: list[dict[str, Any]]) -> None:
    for boot in {event["boot_id"] for event in heard}:
        sequences = [event["sequence"] for event in heard if event["boot_id"] == boot]
        assert sorted(set(sequences)) == list(range(min(sequences), max(sequences) + 1))


def test_on_a_disk_that_is_read_only_from_the_start_the_car_reads_and_heals(fresh: Car) -> None:
    machine = fresh.machine
    small_disk(machine, 64)
    fresh.wait_until_up()
    machine.run("systemctl", "stop", "smartcar.target", *UNITS.values())
    machine.run("mount", "-o", "remount,ro", STATE)
    machine.run("systemctl", "start", "smartcar.target")
    fresh.wait_until_up()
    with fresh.listener("smartcar/+/event/reading") as heard:
        for service in ("recognizer", "pad", "updater"):
            assert "is read-only" in fresh.wait_state(service, "degraded")["reason"], service
        assert fresh.wait_state("overlay", "ready"), "its token can be read"
        eventually(lambda: len(heard) > 2, "events, sent as they happen", 60)
        assert "error" in levels(doctor(fresh, "disk")["disk"])
        machine.run("mount", "-o", "remount,rw", STATE)
        for service in SERVICES:
            fresh.wait_state(service, "ready", 60)
        told = len(heard)
        eventually(lambda: len(heard) > told + 2, "events, from the journal", 60)
    assert_none_is_missing(heard)


def test_with_a_card_that_is_read_only_from_the_boot_on_the_car_reads_and_its_broker_hears(
    installation: Path,
) -> None:
    with container(installation) as machine:
        machine.boot()
        car = Car(machine)
        car.wait_until_up()
        machine.cut_power()
        machine.make_read_only()
        machine.boot()
        car.wait_until_up()
        for service in ("recognizer", "pad", "updater"):
            assert "is read-only" in car.wait_state(service, "degraded")["reason"], service
        with car.listener("smartcar/+/event/reading") as heard:
            eventually(lambda: len(heard) > 2, "events, sent as they happen", 60)


def test_two_hundred_restarts_leave_nothing_behind(fresh: Car) -> None:
    machine = fresh.machine

    def others_than(pids: dict[str, int]) -> bool:
        return not set(fresh.pids().values()) & set(pids.values())

    def traces() -> dict[str, int]:
        """Files, sockets and shared memory that belong to the car."""
        fresh.wait_until_up()
        for service in SERVICES:
            fresh.wait_state(service, "ready")
        shared = machine.run("sh", "-c", "ls -A /run/smartcar/* /dev/shm /tmp").stdout.splitlines()
        state = machine.run("sh", "-c", f"find {STATE} -not -name '*.sqlite3*'").stdout.splitlines()
        sockets = machine.run("ss", "-Hxl").stdout.count("/run/smartcar/")
        return {"shared": len(shared), "state": len(state), "sockets": sockets}

    before = traces()
    for _ in range(ROUNDS):
        pids = fresh.wait_until_up()
        fresh.signal("KILL", *pids.values())
        machine.run("systemctl", "reset-failed", *UNITS.values())
        eventually(partial(others_than, pids), "all ended")
    assert traces() == before
    open_files = machine.run(
        "sh", "-c", "for p in $(pgrep -f 'services [a-z]+$'); do ls /proc/$p/fd | wc -l; done"
    ).stdout.split()
    assert all(int(count) < 120 for count in open_files), open_files


def test_memory_and_tasks_are_limited(running: Car) -> None:
    for service in SERVICES:
        assert int(running.unit(service, "MemoryMax")) < 1 << 30
        assert int(running.unit(service, "TasksMax")) == 64
        group = Path(running.unit(service, "ControlGroup")).name
        assert group == UNITS[service]
