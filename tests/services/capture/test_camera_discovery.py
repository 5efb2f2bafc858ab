"""Which camera is taken. The devices are made up here; tests/system asks a real driver."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from services.capture import camera_discovery, v4l2
from services.capture.camera_discovery import CameraInfo, NoCamera
from services.capture.v4l2 import Capability

C270 = Capability("uvcvideo", "C270 HD WEBCAM", captures=True)
C270_METADATA = Capability("uvcvideo", "C270 HD WEBCAM", captures=False)
CODEC = Capability("bcm2835-codec", "bcm2835-codec-decode", captures=False)
PI = Capability("unicam", "unicam", captures=True)


class Bench:
    """Devices as in /dev, each with what it says of itself or the error that it answers with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._devices, self._class = folder / "dev", folder / "class"
        self._devices.mkdir()
        self._answers: dict[Path, Capability | int] = {}
        monkeypatch.setattr(camera_discovery, "DEVICES", self._devices)
        monkeypatch.setattr(camera_discovery, "CLASS", self._class)
        monkeypatch.setattr(camera_discovery, "_ask", self._ask)

    def plug(self, number: int, answer: Capability | int) -> str:
        device = self._devices / f"video{number}"
        device.touch()
        self._answers[device] = answer
        if isinstance(answer, Capability):
            entry = self._class / device.name
            entry.mkdir(parents=True)
            (entry / "name").write_text(f"{answer.card}\n")
            (entry / "device").symlink_to(f"/sys/devices/{answer.driver}")
        return str(device)

    def _ask(self, device: Path) -> Capability:
        answer = self._answers.get(device, errno.ENOENT)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer), str(device))
        return answer


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_the_first_that_can_capture_is_taken(bench: Bench) -> None:
    bench.plug(10, CODEC)
    bench.plug(3, C270_METADATA)
    webcam = bench.plug(2, C270)
    assert camera_discovery.find() == [CameraInfo(webcam, "C270 HD WEBCAM")]
    assert str(camera_discovery.choose("camera:", {})) == f"{webcam} (C270 HD WEBCAM)"


def test_a_raspberry_pi_camera_comes_first_and_once(bench: Bench) -> None:
    bench.plug(0, C270)
    for number in (1, 2):  # its receiver has a device for the picture and one for the sensor's own data
        bench.plug(number, PI)
    assert [camera.source for camera in camera_discovery.find()][:1] == ["picamera:0"]
    assert len(camera_discovery.find()) == 2


def test_one_that_failed_more_often_than_another_comes_after_it(bench: Bench) -> None:
    first, second = bench.plug(0, C270), bench.plug(2, C270)
    assert camera_discovery.choose("camera:", {first: 1}).source == second
    assert camera_discovery.choose("camera:", {first: 1, second: 1}).source == first


@pytest.mark.parametrize(
    ("source", "answer", "says"),
    [
        ("camera:", None, "There is no camera; plug one in"),
        ("camera:", errno.EACCES, r"video0 may not be opened by .*usermod -aG video"),
        ("camera:", errno.EPERM, "the service's unit must allow it"),
        ("camera:0", None, r"There is no camera .*/video0 \(cameras here: none\); plug it in"),
        ("camera:0", errno.ENODEV, "There is no camera .*/video0"),
        ("camera:0", errno.EACCES, "sudo usermod -aG video"),
        ("camera:0", errno.EBUSY, "video0 is in use by another program; close that"),
        ("camera:0", CODEC, r"video0 \(bcm2835-codec-decode\) delivers no pictures \(cameras here: none\)"),
        ("camera:0", PI, r"delivers no pictures; take picamera:"),
        ("picamera:front", None, "takes a number"),
    ],
)
def test_why_there_is_none_is_said(
    bench: Bench, source: str, answer: Capability | int | None, says: str
) -> None:
    if answer is not None:
        bench.plug(0, answer)
    with pytest.raises(NoCamera, match=says):
        camera_discovery.choose(source, {})


@pytest.mark.parametrize(
    ("source", "device"),
    [
        ("camera:0", "/dev/video0"),
        ("camera:/dev/v4l/by-id/usb-cam", "/dev/v4l/by-id/usb-cam"),
        ("/dev/video3", "/dev/video3"),
        ("/dev/v4l/by-path/x", "/dev/v4l/by-path/x"),
        ("camera:", None),
        ("scene:", None),
        ("file:/dev/video3", None),
        ("http://host/video0", None),
        ("/dev/null", None),
    ],
)
def test_a_device_has_several_names(source: str, device: str | None) -> None:
    assert camera_discovery.device_of(source) == (None if device is None else Path(device))
    assert camera_discovery.is_camera(source) == (device is not None or source == "camera:")


def test_a_camera_may_have_a_name_that_is_no_text(bench: Bench, tmp_path: Path) -> None:
    webcam = bench.plug(0, C270)
    (tmp_path / "class" / "video0" / "name").write_bytes("모델".encode("cp949"))
    assert [camera.source for camera in camera_discovery.find()] == [webcam]


def test_so_may_the_program_that_holds_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Path("/dev/null")  # any file with a device number
    process = tmp_path / "processes" / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to(device)
    (process / "comm").write_bytes(b"k\xb8\n")
    monkeypatch.setattr(camera_discovery, "PROCESSES", tmp_path / "processes")
    monkeypatch.setattr(v4l2, "is_streaming_elsewhere", lambda _: True)
    assert camera_discovery.why_not(device) == (
        "The camera /dev/null is in use by k\ufffd (process 77); close that."
    )
