"""Reads the Raspberry Pi camera. Run as a script by the system's Python, so it imports nothing of ours.

Needs only picamera2. Its reports go to the pipe that its order names, each as JSON after four bytes that
count it: ["opened", name, refused], then for each frame ["frame", captured_ns, height, width] and its pixels
(BGR, rows without gaps), or ["failed", sentence].
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1
MOST_AGE_NS = 1_000_000_000
AF_CONTINUOUS, AF_MANUAL = 2, 0


class Fault(Exception):
    """One sentence, what is wrong and what to do."""


def main() -> int:
    order = json.loads(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed reader leaves no child at the camera
    if os.getppid() != order["parent"]:
        return 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    pipe = order["pipe"]
    try:
        camera, name = open_camera(order)
        refused = set_up(camera, order)
        report(pipe, "opened", name, refused)
        while True:
            deliver(camera, pipe)
    except Fault as fault:
        report(pipe, "failed", str(fault))
    except Exception as error:
        what = str(error) or type(error).__name__
        report(pipe, "failed", f"The Raspberry Pi camera failed ({what}); it is opened anew.")
    return 1


def open_camera(order: dict[str, Any]) -> tuple[Any, str]:
    """The camera and what it is called. Those on USB, which libcamera has too, are not its matter."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise Fault(
            f"The Raspberry Pi camera needs picamera2 in {sys.executable} ({error}): "
            f"`sudo apt install python3-picamera2`."
        ) from error
    here = [
        (position, info)
        for position, info in enumerate(Picamera2.global_camera_info())
        if "/usb" not in info.get("Id", "")
    ]
    number = order["number"]
    if number >= len(here):
        names = ", ".join(info.get("Model", "?") for _, info in here) or "none"
        raise Fault(
            f"There is no Raspberry Pi camera {number} (cameras here: {names}); is its cable seated, and "
            f"does rpicam-hello --list-cameras show it?"
        )
    position, info = here[number]
    model = info.get("Model", "camera")
    try:
        camera = Picamera2(position)
    except Exception as error:
        cause = error.__cause__ or error
        raise Fault(
            f"The Raspberry Pi camera {model} can't be opened ({cause}); does another program hold it, or "
            f"may this user not (group video)?"
        ) from error
    return camera, f"Raspberry Pi {model}"


def set_up(camera: Any, order: dict[str, Any]) -> list[str]:
    """Configure and start; returns a sentence for each setting that the camera doesn't take."""
    # The picture's size must be even; what libcamera calls RGB888 lies in memory as OpenCV's BGR.
    size = (order["width"] // 2 * 2, order["height"] // 2 * 2)
    camera.configure(
        camera.create_video_configuration(
            main={"size": size, "format": "RGB888"}, buffer_count=4, display=None, encode=None
        )
    )
    refused = []
    exposure_us, gain = order["exposure_us"], order["gain"]
    frame_us = max(round(1e6 / order["hertz"]), exposure_us)  # a long exposure wants a longer frame
    frame_us, reason = within(camera, "FrameDurationLimits", frame_us)
    if frame_us is None:
        refused.append(f"capture.hertz = {order['hertz']:g}: {reason}")
    else:
        camera.set_controls({"FrameDurationLimits": (frame_us, frame_us)})
        if reason:
            refused.append(f"capture.hertz = {order['hertz']:g}: {1e6 / frame_us:.3g} it is")
    for key, control, value in (
        ("exposure_us", "ExposureTime", exposure_us),
        ("gain", "AnalogueGain", float(gain)),
    ):
        if not value:
            continue  # automatic, which is how the camera starts
        taken, reason = within(camera, control, value)
        if reason:
            refused.append(f"capture.{key} = {value:g}: {reason}")
        else:
            camera.set_controls({control: taken})
    if "AfMode" in camera.camera_controls:
        camera.set_controls({"AfMode": AF_CONTINUOUS if order["autofocus"] else AF_MANUAL})
    camera.start()
    return refused


def within(camera: Any, control: str, value: float) -> tuple[Any, str]:
    """(the nearest that the camera takes, why it isn't `value`); (None, why) where it has no such control."""
    limits = camera.camera_controls.get(control)
    if limits is None:
        return None, "the camera has no such control"
    least, most = limits[0], limits[1]
    if least <= value and (value <= most or not most):  # 0 where libcamera doesn't know the upper end
        return value, ""
    return min(max(value, least), most), f"the camera takes {least:g} to {most:g}"


def deliver(camera: Any, pipe: int) -> None:
    """The next frame. Waits for it for ever: whoever reads the pipe has a clock."""
    request = camera.capture_request()
    try:
        pixels = request.make_array("main")
        stamped_ns = request.get_metadata().get("SensorTimestamp")
    finally:
        request.release()
    height, width = pixels.shape[:2]
    report(pipe, "frame", captured_ns(stamped_ns), height, width)
    write(pipe, memoryview(pixels).cast("B"))


def captured_ns(stamped_ns: int | None) -> int:
    """The sensor's time, which counts on while the machine sleeps, on the clock that doesn't; else now."""
    now_ns = time.monotonic_ns()
    if stamped_ns is None:
        return now_ns
    slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    taken_ns = stamped_ns - slept_ns
    return taken_ns if 0 <= now_ns - taken_ns < MOST_AGE_NS else now_ns


def report(pipe: int, kind: str, *content: Any) -> None:
    text = json.dumps([kind, *content]).encode()
    write(pipe, memoryview(struct.pack("=I", len(text)) + text))


def write(pipe: int, view: memoryview) -> None:
    while view:
        view = view[os.write(pipe, view) :]


if __name__ == "__main__":
    sys.exit(main())
