"""A screen to open OpenCV's windows on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket

import cv2

from tools.terminal.problems import Problem


def prepare_screen(otherwise: str) -> None:
    """To be called before a window is opened; raises Problem where none can be.

    `otherwise` says what to do instead. OpenCV itself would end the process.
    """
    display = os.environ.get("DISPLAY", "")
    if os.environ.get("WAYLAND_DISPLAY") and not display:
        return
    if not display:
        raise Problem(f"There is no screen here (DISPLAY is not set): {otherwise}.")
    host, _, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if host in ("", "unix") and number.isdigit() and not _answers(f"/tmp/.X11-unix/X{number}"):
        raise Problem(f"The screen {display} (DISPLAY) can't be reached: {otherwise}.")
    _let_qt_see_all_events()


def is_open(title: str) -> bool:
    """Whether a window is still there, or was closed by hand."""
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # it is gone, says OpenCV 5
        return False


def _let_qt_see_all_events() -> None:
    """Keep windows from staying black.

    OpenCV's wheels bring a libX11-xcb of their own. Built for an older libX11 than the system's, it fails to
    tell it that Qt takes the events; Xlib then takes some, at times the one that says that the window is
    there. The system's own, loaded first, is used instead.
    """
    with contextlib.suppress(OSError):
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)


def _answers(path: str) -> bool:
    for address in (path, "\0" + path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(address)
                return True
            except OSError:
                continue
    return False
