"""Run in a virtual machine: turn a knob of the camera driver `vivid`, or look at it, by the name that it has.

python -m tests.system.vm_vivid /dev/video0 "Disconnect" 1     prints CLOCK_MONOTONIC at that moment, in s
python -m tests.system.vm_vivid /dev/video0 "Gain"             prints where it stands
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time

_QUERY = struct.Struct("=I4x32s28x")
_CONTROL = struct.Struct("=Ii")
_G_CTRL, _S_CTRL, _QUERYCTRL = 0xC008561B, 0xC008561C, 0xC0445624
_NEXT = 0x8000_0000


def main(device: str, name: str, value: str | None = None) -> None:
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    content = bytearray(_CONTROL.pack(_find(descriptor, name.encode()), int(value or 0)))
    if value is None:
        fcntl.ioctl(descriptor, _G_CTRL, content)
        print(_CONTROL.unpack(content)[1])
    else:
        moment = time.monotonic()
        fcntl.ioctl(descriptor, _S_CTRL, content)
        print(moment)


def _find(descriptor: int, name: bytes) -> int:
    control = 0
    while True:
        query = bytearray(_QUERY.pack(control | _NEXT, b""))
        try:
            fcntl.ioctl(descriptor, _QUERYCTRL, query)
        except OSError:
            sys.exit(f"there is no control {name.decode()}")
        control, found = _QUERY.unpack(query)
        if found.rstrip(b"\0") == name:
            return int(control)


if __name__ == "__main__":
    main(*sys.argv[1:])
