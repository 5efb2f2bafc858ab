"""A real Video4Linux camera, the kernel's `vivid`, in a virtual machine: found, pulled out, hung, frozen.

The capture service runs in it as it is; what it says of itself comes out through a port of the machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.system import vm
from tests.system.vm import Kernel, Machine

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(vm.missing()), reason=vm.missing())]

PYTHON = f"{REPOSITORY}/.venv/bin/python"
NOTICED_WITHIN_S = 2.0 + 1.0
"""A second for a machine that is emulated."""
BLACK = 5
"""Of vivid's test patterns."""
RUNTIME = "SMARTCAR_PATHS__RUNTIME=/run/car SMARTCAR_PATHS__STATE=/run/state"
VIVID = "no_error_inj=0 n_devs=1"


class Car:
    """The capture service in the machine, and what it says."""

    def __init__(self, machine: Machine, pid: int) -> None:
        self._machine, self._pid = machine, pid
        self._beats: list[dict[str, Any]] = []

    def until(
        self, state: str, reason: str = "", after: float = 0.0, within_s: float = 90.0
    ) -> dict[str, Any]:
        """The first heartbeat since the machine's time `after` that says so."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for line in self._machine.lines(1.0):
                self._beats.append(json.loads(line))
            for beat in self._beats:
                if (
                    (beat["pid"], beat["state"]) == (self._pid, state)
                    and reason in beat["reason"]
                    and beat["monotonic_ns"] / 1e9 > after
                ):
                    return beat
        said = {(beat["state"], beat["reason"]) for beat in self._beats}
        log = self._machine.run("cat /run/capture.log /run/watch.log")
        pytest.fail(f"capture did not say {state}: {reason}; it said {said}\n{log}")

    def turn(self, control: str, value: int = 1, device: str = "/dev/video0") -> float:
        """Turn a knob of the driver; the machine's time at which that was."""
        return float(self._machine.run(f"{PYTHON} -m tests.system.vm_vivid {device} '{control}' {value}"))

    def now(self) -> float:
        return float(self._machine.run(f"{PYTHON} -c 'import time; print(time.monotonic())'"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(Kernel(), tmp_path_factory.mktemp("vm"))
    try:
        made.boot()
        made.run("mkdir /run/car /run/state")
        made.start("watch", f"env {RUNTIME} sh -c '{PYTHON} -m tools.cli watch health --json >/dev/lines'")
        yield made
    finally:
        made.cut()


@pytest.fixture
def camera(machine: Machine) -> Iterator[None]:
    plug(machine)
    yield
    pull(machine)


def plug(machine: Machine, first: int = 0) -> None:
    machine.run(f"modprobe vivid {VIVID} vid_cap_nr={first}")


def pull(machine: Machine) -> None:
    """Out, also under a program that reads from it; then the driver goes, once nobody has it open."""
    machine.call("echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind")
    machine.run("for i in $(seq 100); do [ ! -d /sys/module/vivid ] || rmmod vivid && break; sleep 0.2; done")


@contextmanager
def capture(machine: Machine, source: str = "camera:", **settings: str) -> Iterator[Car]:
    """The service for the length of a block."""
    given = {"CAPTURE__SOURCE": source} | settings
    environment = " ".join(f"SMARTCAR_{key}='{value}'" for key, value in given.items())
    machine.start("capture", f"env {RUNTIME} {environment} {PYTHON} -m services capture")
    pid = int(machine.run("cat /run/capture.pid"))
    try:
        yield Car(machine, pid)
    finally:
        machine.call(f"kill {pid}; for i in $(seq 99); do [ -d /proc/{pid} ] || break; sleep 0.1; done")


def test_a_camera_absent_at_boot_is_taken_when_it_is_plugged_in_and_again_under_another_number(
    machine: Machine,
) -> None:
    with capture(machine) as car:
        car.until("degraded", "There is no camera; plug one in")
        plugged = car.now()
        plug(machine)
        beat = car.until("ready", after=plugged)
        assert beat["details"]["camera"] == "/dev/video0 (vivid)"
        out = car.now()
        pull(machine)
        beat = car.until("degraded", "There is no camera", after=out)
        assert "camera" not in beat["details"]
        plug(machine, first=7)
        beat = car.until("ready", after=beat["monotonic_ns"] / 1e9)
        assert beat["details"]["camera"] == "/dev/video7 (vivid)"
    pull(machine)


@pytest.mark.usefixtures("camera")
def test_a_fault_of_the_driver_is_noticed_within_two_seconds_and_it_comes_back(machine: Machine) -> None:
    faults: list[tuple[str, int, int | None, str]] = [
        ("Percentage of Dropped Buffers", 100, 0, "No frame from /dev/video0 (vivid) for 1.8 s"),
        ("Disconnect", 1, None, "/dev/video0"),
        ("Inject Fatal Streaming Error", 1, None, "The camera /dev/video0 stopped delivering"),
        ("OSD Text Mode", 2, 0, "the same picture again and again"),
    ]
    with capture(machine) as car:
        car.until("ready")
        for control, value, undone, says in faults:
            began = car.turn(control, value)
            beat = car.until("degraded", says, after=began)
            assert beat["monotonic_ns"] / 1e9 - began < NOTICED_WITHIN_S, control
            if undone is not None:
                car.turn(control, undone)
            car.until("ready", after=beat["monotonic_ns"] / 1e9)


@pytest.mark.usefixtures("camera")
def test_a_covered_lens_is_said_and_reading_goes_on(machine: Machine) -> None:
    with capture(machine) as car:
        car.until("ready")
        car.turn("OSD Text Mode", 2)
        began = car.turn("Test Pattern", BLACK)
        beat = car.until("degraded", "is its lens covered, or is it dark?", after=began)
        restarts = beat["counters"].get("reader_restarts")
        assert beat["details"]["camera"]
        began = car.turn("OSD Text Mode", 0)
        assert car.until("ready", after=began)["counters"].get("reader_restarts") == restarts


@pytest.mark.usefixtures("camera")
def test_what_the_camera_takes_is_set_and_what_it_refuses_is_said(machine: Machine) -> None:
    settings = {"CAPTURE__GAIN": "123", "CAPTURE__EXPOSURE_US": "5000", "CAPTURE__ROTATE": "90"}
    with capture(machine, **settings) as car:
        car.until("ready", "capture.exposure_us = 5000: the camera has no such control")
        assert machine.run(f"{PYTHON} -m tests.system.vm_vivid /dev/video0 Gain") == "123"
    with capture(machine, CAPTURE__GAIN="400") as car:
        car.until("ready", "capture.gain = 400: the camera takes 0 to 255")


@pytest.mark.usefixtures("camera")
def test_in_use_forbidden_and_no_camera_at_all_are_told_apart(machine: Machine) -> None:
    reading = "import cv2; c = cv2.VideoCapture(0, cv2.CAP_V4L2)\nwhile True: c.read()"
    machine.start("other", f'{PYTHON} -c "{reading}"')
    other = machine.run("cat /run/other.pid")
    machine.run(f"until ls -l /proc/{other}/fd | grep -q video0; do sleep 0.2; done; sleep 1")
    with capture(machine) as car:
        beat = car.until("degraded", f"/dev/video0 is in use by python (process {other}); close that")
        machine.run(f"kill -9 {other}")
        car.until("ready", after=beat["monotonic_ns"] / 1e9)
    with capture(machine, source="/dev/video1") as car:
        car.until("degraded", "delivers no pictures (cameras here: /dev/video0 (vivid))")
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    asked = "from services.capture import camera_discovery; camera_discovery.choose('camera:', {})"
    code, said = machine.call(f'{nobody} {PYTHON} -c "{asked}"')
    assert code
    assert "/dev/video0 may not be opened" in said
    assert "put it into the group video" in said
