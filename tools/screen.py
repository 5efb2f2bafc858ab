"""Whether there is a screen to open a window on."""

from __future__ import annotations

import os
import socket

from tools.problems import Problem


def require_screen(otherwise: str) -> None:
    """Raises Problem where no window can be opened here; `otherwise` says what to do instead.

    Asked beforehand, because OpenCV's windows end the process where they can't reach the screen.
    """
    display = os.environ.get("DISPLAY", "")
    if os.environ.get("WAYLAND_DISPLAY") and not display:
        return
    if not display:
        raise Problem(f"there is no screen here (DISPLAY is not set): {otherwise}")
    host, _, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if host in ("", "unix") and number.isdigit() and not _answers(f"/tmp/.X11-unix/X{number}"):
        raise Problem(f"the screen {display} (DISPLAY) can't be reached: {otherwise}")


def _answers(path: str) -> bool:
    for address in (path, "\0" + path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(address)
                return True
            except OSError:
                continue
    return False
