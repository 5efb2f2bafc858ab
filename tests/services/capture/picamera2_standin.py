"""Stands in for picamera2, which only Raspberry Pi's own archive has: as much of its interface as is used,
and as strict. What the camera does stands in a file beside it, so that a test can change that while it runs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = Path(__file__).with_name("camera.json")
"""{"cameras": […], "busy": bool, "hangs": bool, "frozen": bool, "dies": bool}"""
CONTROLS: dict[str, tuple[Any, Any, Any]] = {
    "FrameDurationLimits": (16971, 1_000_000, None),
    "ExposureTime": (100, 200_000, None),
    "AnalogueGain": (1.0, 16.0, None),
    "AfMode": (0, 2, 0),
}


def script() -> dict[str, Any]:
    return json.loads(SCRIPT.read_text())  # type: ignore[no-any-return]


class Picamera2:
    """The camera, its requests counted: who doesn't release them soon gets none."""

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return script()["cameras"]  # type: ignore[no-any-return]

    def __init__(self, camera_num: int = 0) -> None:
        info = self.global_camera_info()[camera_num]
        if script().get("busy"):
            raise RuntimeError("Camera __init__ sequence did not complete.") from RuntimeError(
                "Failed to acquire camera: Device or resource busy"
            )
        self.camera_controls = {name: CONTROLS[name] for name in CONTROLS if name != info.get("lacks")}
        self._configuration: dict[str, Any] = {}
        self._controls: dict[str, Any] = {}
        self._started = False
        self._lent = 0
        self._number = 0

    def create_video_configuration(
        self,
        main: dict[str, Any],
        buffer_count: int = 6,
        display: str | None = "main",
        encode: str | None = "main",
    ) -> dict[str, Any]:
        assert set(main) <= {"format", "size", "stride", "preserve_ar"}
        return {"main": main, "buffer_count": buffer_count, "display": display, "encode": encode}

    def configure(self, camera_config: dict[str, Any]) -> None:
        width, height = camera_config["main"]["size"]
        if width % 2 or height % 2:
            raise RuntimeError("width and height should be even")
        assert camera_config["main"]["format"] == "RGB888", "the one that is BGR in memory"
        self._configuration = camera_config
        self._controls = {"FrameDurationLimits": (33333, 33333)}

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name, value in controls.items():
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
            self._controls[name] = value

    def start(self) -> None:
        assert self._configuration, "Camera has not been configured"
        self._started = True

    def capture_request(self) -> Request:
        assert self._started
        state = script()
        while state.get("hangs") or self._lent == self._configuration["buffer_count"]:
            time.sleep(0.02)
            state = script()
        if state.get("dies"):
            raise RuntimeError("Camera frontend has timed out!")
        time.sleep(self._controls["FrameDurationLimits"][0] / 1e6)
        self._lent += 1
        self._number += not state.get("frozen")
        return Request(self, self._number)

    def give_back(self) -> None:
        self._lent -= 1

    def picture(self, number: int) -> Any:
        """Blue left, red right; a line that moves. The second row tells the exposure and gain that hold."""
        width, height = self._configuration["main"]["size"]
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 200
        pixels[:, number % width] = 255
        pixels[1] = 0
        pixels[1, 0, 0] = self._controls.get("ExposureTime", 0) // 1000
        pixels[1, 0, 1] = round(self._controls.get("AnalogueGain", 0))
        pixels[1, 0, 2] = self._controls.get("AfMode", 255)
        return pixels


class Request:
    """One frame, lent until it is released."""

    def __init__(self, camera: Picamera2, number: int) -> None:
        self._camera, self._number = camera, number
        self._taken_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 5_000_000

    def make_array(self, name: str) -> Any:
        assert name == "main"
        return self._camera.picture(self._number)

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": self._taken_ns}

    def release(self) -> None:
        self._camera.give_back()
