"""The few ioctls of Video4Linux that find a camera and set it up.

Only the standard library: the capture service asks, too, and stays small.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from typing import NamedTuple

_VIDEO_CAPTURE = 0x0000_0001
_MEMORY_TO_MEMORY = 0x0000_4000 | 0x0000_8000
_STREAMING = 0x0400_0000
_DEVICE_CAPABILITIES = 0x8000_0000
_BUFFER_VIDEO_CAPTURE = 1
_MEMORY_MMAP = 1
_UNUSABLE = 0x0001 | 0x0004
"""Control flags: disabled, read only."""

_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_BUFFERS = struct.Struct("=IIIIB3x")
_INPUT = struct.Struct("=I76x")
_CONTROL = struct.Struct("=Ii")
_QUERY = struct.Struct("=II32siiiiI8x")


def _request(number: int, payload: struct.Struct, direction: int = 3) -> int:
    """The number of an ioctl; `direction` is 2 where it only reads, 3 where it also writes."""
    return direction << 30 | payload.size << 16 | ord("V") << 8 | number


_QUERYCAP = _request(0, _CAPABILITY, 2)
_REQBUFS = _request(8, _BUFFERS)
_ENUMINPUT = _request(26, _INPUT)
_S_CTRL = _request(28, _CONTROL)
_QUERYCTRL = _request(36, _QUERY)

AUTO_EXPOSURE = 0x009A_0901
EXPOSURE_100_US = 0x009A_0902
AUTO_FOCUS = 0x009A_090C
AUTO_GAIN = 0x0098_0912
GAIN = 0x0098_0913
EXPOSURE_MANUAL = 1
EXPOSURE_APERTURE_PRIORITY = 3
"""Values of AUTO_EXPOSURE; what webcams call automatic is aperture priority."""


class Capability(NamedTuple):
    """What a device says of itself."""

    driver: str
    card: str
    captures: bool
    """Whether it delivers pictures of its own, and isn't a codec's or image processor's other end."""


class Range(NamedTuple):
    """What a control takes, both ends included."""

    minimum: int
    maximum: int


def capability(descriptor: int) -> Capability:
    """Raises OSError where the device is no V4L2 device, or gone."""
    answer = bytearray(_CAPABILITY.size)
    fcntl.ioctl(descriptor, _QUERYCAP, answer)
    driver, card, _bus, _version, whole, own = _CAPABILITY.unpack(answer)
    capabilities = own if whole & _DEVICE_CAPABILITIES else whole
    captures = (
        bool(capabilities & _VIDEO_CAPTURE)
        and bool(capabilities & _STREAMING)
        and not capabilities & _MEMORY_TO_MEMORY
        and _has_input(descriptor)
    )
    return Capability(_text(driver), _text(card), captures)


def _has_input(descriptor: int) -> bool:
    """The output end of an image processor captures too, but has nothing that it could look at."""
    try:
        fcntl.ioctl(descriptor, _ENUMINPUT, bytearray(_INPUT.size))
    except OSError:
        return False
    return True


def is_streaming_elsewhere(descriptor: int) -> bool:
    """Whether another program has the pictures: a camera has one taker. Raises OSError."""
    for count in (1, 0):
        try:
            request = bytearray(_BUFFERS.pack(count, _BUFFER_VIDEO_CAPTURE, _MEMORY_MMAP, 0, 0))
            fcntl.ioctl(descriptor, _REQBUFS, request)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return True
            raise
    return False


def control_range(descriptor: int, control: int) -> Range | None:
    """What the control takes; None where the camera has none of this kind."""
    query = bytearray(_QUERY.pack(control, 0, b"", 0, 0, 0, 0, 0))
    try:
        fcntl.ioctl(descriptor, _QUERYCTRL, query)
    except OSError:
        return None
    _id, _type, _name, minimum, maximum, _step, _default, flags = _QUERY.unpack(query)
    return None if flags & _UNUSABLE else Range(minimum, maximum)


def set_control(descriptor: int, control: int, value: int) -> bool:
    """Whether the camera took it."""
    try:
        fcntl.ioctl(descriptor, _S_CTRL, bytearray(_CONTROL.pack(control, value)))
    except OSError:
        return False
    return True


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
