"""A virtual screen (Xvfb) with a mouse and keys (xdotool), for the windows that people use."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import PATIENCE_S, wait_for


@dataclass
class Screen:
    """A virtual screen, its mouse and its keys."""

    display: str
    frame_buffer: Path

    def do(self, *words: object) -> str:
        """xdotool; what it prints, empty where it finds nothing."""
        answer = subprocess.run(
            ["xdotool", *map(str, words)],
            env=os.environ | {"DISPLAY": self.display},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return answer.stdout.strip()

    def window(self, title: str) -> str:
        """The number of the window with this title, once it is there."""
        return wait_for(lambda: self.do("search", "--name", f"^{title}$"), what=title).splitlines()[-1]

    def close(self, window: int) -> None:
        """As a window manager's cross does: a message of the protocol WM_DELETE_WINDOW (ICCCM 4.2.8.1)."""
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        display = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        x11.XInternAtom.restype = ctypes.c_ulong
        protocols = x11.XInternAtom(display, b"WM_PROTOCOLS", 0)
        delete = x11.XInternAtom(display, b"WM_DELETE_WINDOW", 0)
        client_message = 33
        event = (ctypes.c_long * 24)(client_message, 0, 1, 0, window, protocols, 32, delete, 0)
        x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(display)

    def corner(self, window: str) -> tuple[int, int]:
        geometry = dict(
            line.split("=") for line in self.do("getwindowgeometry", "--shell", window).splitlines()
        )
        return int(geometry.get("X", 0)), int(geometry.get("Y", 0))  # the window may have gone meanwhile

    def picture(self) -> NDArray[np.uint8]:
        """What the screen shows, (height, width, 3) BGR: X's own dump, which Xvfb keeps in a file."""
        content = self.frame_buffer.read_bytes()
        header = struct.unpack(">25I", content[:100])
        width, height, line, colours = header[4], header[5], header[12], header[19]
        pixels = np.frombuffer(content, np.uint8, offset=header[0] + 12 * colours)
        return (
            pixels[: height * line].reshape(height, line)[:, : 4 * width].reshape(height, width, 4)[:, :, :3]
        )


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    if not shutil.which("Xvfb") or not shutil.which("xdotool"):
        pytest.skip("Xvfb or xdotool is not installed (apt install xvfb xdotool)")
    folder = tmp_path_factory.mktemp("screen")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [
            *("Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x700x24"),
            *("-nolisten", "tcp", "-noreset", "-fbdir", str(folder)),
        ],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as answer:
        display = f":{answer.readline().strip()}"
    yield Screen(display, folder / "Xvfb_screen0")
    process.terminate()
    process.wait(PATIENCE_S)
