"""The Raspberry Pi camera: the very child that runs on the car, with a stand-in for picamera2 under it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq

from messages.bus import socket_path
from messages.ring import FrameGone, RingReader
from tests.conftest import wait_for
from tests.services.capture import picamera2_standin
from tests.services.processes import Onlooker, service

Context = zmq.Context[zmq.Socket[bytes]]

IMX708 = {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c0mux/imx708@1a", "Num": 0}
WEBCAM = {"Model": "C270", "Id": "/base/scb/pcie/usb@1,0/usb-1.2:1.0-046d:0825", "Num": 1}


class Pi:
    """A system's Python that has picamera2, and a camera that does what a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python3"
        # In place of -I, which shuts out what is not the system's own.
        self.python.write_text(
            f"#!/bin/sh\nshift\n"
            f'PYTHONPATH={shlex.quote(str(folder))} exec {shlex.quote(sys.executable)} "$@"\n'
        )
        self.python.chmod(0o755)
        shutil.copy(picamera2_standin.__file__, folder / "picamera2.py")
        self.do()

    def do(self, **script: Any) -> None:
        new = self.folder / "new.json"
        new.write_text(json.dumps({"cameras": [WEBCAM, IMX708], **script}))
        new.rename(self.folder / "camera.json")

    def children(self) -> list[int]:
        """Whoever runs under this Python now."""
        mine = f"PYTHONPATH={self.folder}".encode()
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and mine in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:
                pass
        return found


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


def settings(pi: Pi, **more: str) -> dict[str, str]:
    return {"CAPTURE__SOURCE": "picamera:", "CAPTURE__PICAMERA_PYTHON": str(pi.python), **more}


def corner(onlooker: Onlooker, runtime: Path) -> tuple[list[int], list[int], list[int]]:
    """Of the newest frame: a pixel on the left, one on the right, and the one that tells the settings."""
    ring = RingReader(socket_path(runtime / "run", "capture", "ring"))

    def pixels() -> tuple[list[int], list[int], list[int]] | None:
        try:
            with ring.frame(onlooker.of("frame")[-1]) as frame:
                return frame[2, 5].tolist(), frame[2, -5].tolist(), frame[1, 0].tolist()
        except (FrameGone, IndexError):
            return None

    try:
        found = wait_for(pixels)
        assert found is not None
        return found
    finally:
        ring.close()


def test_frames_come_in_the_right_colours_with_the_sensors_time(
    context: Context, runtime: Path, pi: Pi
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **settings(pi)):
        beat = onlooker.wait_state("capture", "ready")
        assert beat.details == {
            "source": "picamera:",
            "source_name": "default",
            "camera": "Raspberry Pi imx708",
        }
        blue, red, told = corner(onlooker, runtime)
        assert (blue, red) == ([200, 0, 0], [0, 0, 200])
        assert told == [0, 0, 2], "exposure and gain automatic, the focus continuous"
        frame = onlooker.of("frame")[-1]
        assert (frame.width, frame.height) == (640, 480)
        assert 5e6 <= frame.monotonic_ns - frame.captured_ns < 1e9, "the sensor had it 5 ms before we did"
        [child] = pi.children()
    wait_for(lambda: not Path(f"/proc/{child}").exists(), what="the child to end with the service")


def test_exposure_gain_and_focus_are_set_and_a_refused_one_is_said(
    context: Context, runtime: Path, pi: Pi
) -> None:
    onlooker = Onlooker(context, runtime)
    chosen = {"EXPOSURE_US": "9000", "GAIN": "99", "AUTOFOCUS": "false", "ROTATE": "180", "HERTZ": "100"}
    with service("capture", runtime, **settings(pi, **{f"CAPTURE__{key}": chosen[key] for key in chosen})):
        beat = onlooker.wait_state("capture", "ready", "capture.gain = 99: the camera takes 1 to 16")
        assert "capture.hertz = 100: 58.9 it is" in beat.reason
        red, blue, _ = corner(onlooker, runtime)
        assert (blue, red) == ([200, 0, 0], [0, 0, 200]), "turned"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ({"hangs": True}, "No frame from Raspberry Pi imx708 for 1.8 s"),
        ({"frozen": True}, "the same picture again and again"),
        ({"dies": True}, "The Raspberry Pi camera failed (Camera frontend has timed out!)"),
    ],
)
def test_a_fault_is_noticed_and_it_comes_back(
    context: Context, runtime: Path, pi: Pi, script: dict[str, bool], says: str
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **settings(pi)):
        onlooker.wait_state("capture", "ready")
        children = pi.children()
        pi.do(**script)
        onlooker.wait_state("capture", "degraded", says)
        pi.do()
        onlooker.wait_state("capture", "ready")
        wait_for(lambda: not set(children) & set(pi.children()), what="the old child to be gone")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ({"cameras": []}, "There is no Raspberry Pi camera 0 (cameras here: none)"),
        ({"cameras": [WEBCAM]}, "There is no Raspberry Pi camera 0"),
        ({"busy": True}, "imx708 can't be opened (Failed to acquire camera: Device or resource busy)"),
    ],
)
def test_why_it_can_not_be_opened_is_said(
    context: Context, runtime: Path, pi: Pi, script: dict[str, Any], says: str
) -> None:
    pi.do(**script)
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **settings(pi)):
        onlooker.wait_state("capture", "degraded", says)
        pi.do()
        onlooker.wait_state("capture", "ready")


def test_without_picamera2_its_package_is_named(context: Context, runtime: Path, pi: Pi) -> None:
    (pi.folder / "picamera2.py").unlink()
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **settings(pi)):
        onlooker.wait_state("capture", "degraded", "sudo apt install python3-picamera2")


def test_a_killed_reader_leaves_nobody_at_the_camera(context: Context, runtime: Path, pi: Pi) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **settings(pi)) as process:
        onlooker.wait_state("capture", "ready")
        [child] = pi.children()
        [reader] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(reader), signal.SIGKILL)
        wait_for(lambda: child not in pi.children(), what="the child to go with its reader")
        onlooker.wait_state("capture", "ready")
