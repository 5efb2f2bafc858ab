"""The parts of an HDF5 object's header, each taken from its bytes: shapes, kinds of numbers, names, links.

After sections III and IV.A of the "HDF5 File Format Specification Version 3.0" (The HDF Group); `hdf5` says
what of it is read. Whatever is not as it should be raises Refusal.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from messages.errors import ErrorCode
from models.refusal import Refusal

_MAX_RANK = 8

# Messages of an object header (section IV.A.2 of the specification).
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES = 0x01, 0x02, 0x03, 0x06, 0x07
LAYOUT, FILTERS, ATTRIBUTE, CONTINUATION = 0x08, 0x0B, 0x0C, 0x10
SYMBOL_TABLE, ATTRIBUTE_INFO = 0x11, 0x15


def damaged(what: str) -> Refusal:
    """A refusal of bytes that can't be what they claim."""
    return Refusal(
        ErrorCode.DAMAGED, f"The file is damaged or cut off ({what}); copy it again, or save it anew."
    )


def foreign(what: str) -> Refusal:
    """A refusal of what HDF5 allows and Keras doesn't write."""
    return Refusal(
        ErrorCode.UNSUPPORTED_LAYOUT,
        f"The file holds {what}, which Keras doesn't write; save it with model.save(…).",
    )


@dataclass(frozen=True)
class Kind:
    """An HDF5 datatype: numbers of `dtype`, or text of `size` bytes, or text kept in a heap."""

    size: int
    dtype: np.dtype[np.generic] | None = None
    in_heap: bool = False


def compressed(name: str) -> Refusal:
    """A refusal of numbers that would have to be unfolded."""
    return Refusal(
        ErrorCode.COMPRESSED,
        f"The numbers of {name!r} are chunked or compressed; save it with model.save(…).",
    )


def link_outside(name: str) -> Refusal:
    """A refusal of a link that leads out of the file or through another name."""
    return Refusal(
        ErrorCode.EXTERNAL_DATA,
        f"{name!r} is a link to somewhere else; save the model anew, whole, with model.save(…).",
    )


def exactly(content: bytes, size: int) -> bytes:
    """The first `size` bytes, all of them."""
    if len(content) < size:
        raise damaged("a part of it is too short")
    return content[:size]


def decoded(text: bytes) -> str:
    """A name or text, which HDF5 keeps in UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise damaged("a name or text is no UTF-8") from None


def text_at(names: bytes, start: int) -> str:
    """The name that begins there and ends with a zero byte."""
    end = names.find(b"\0", start)
    if end < 0:
        raise damaged("a name breaks off")
    return decoded(names[start:end])


def header_messages(block: bytes, second: bool, flags: int) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each message in a block of an object header; `second`: its version is 2."""
    at, head = 0, (6 if flags & 4 else 4) if second else 8
    while at + head <= len(block):
        if second:
            kind, size, shared = struct.unpack_from("<BHB", block, at)
        else:
            kind, size, shared = struct.unpack_from("<HHB", block, at)
        body = block[at + head : at + head + size]
        if len(body) < size:
            raise damaged("an object header breaks off")
        if shared & 2 and kind in (DATASPACE, DATATYPE, FILTERS, ATTRIBUTE):
            raise foreign("types shared between arrays")
        if kind == ATTRIBUTE_INFO and len(body) > 1:
            heap = 2 + (2 if body[1] & 1 else 0)
            if exactly(body[heap:], 8) != b"\xff" * 8:
                raise foreign("attributes indexed in the dense way")
        yield kind, body
        at += head + size


def dataspace(body: bytes) -> tuple[int, ...]:
    version, rank, _, kind = struct.unpack("<4B", exactly(body, 4))
    if version == 2 and kind == 2:
        return (0,)
    if version not in (1, 2) or rank > _MAX_RANK:
        raise damaged("an array's shape is none")
    return struct.unpack(f"<{rank}Q", exactly(body[8 if version == 1 else 4 :], 8 * rank))


_FLOATS = {
    # size: bit offset, precision, exponent's place and size, mantissa's place and size, exponent's bias
    2: struct.pack("<HHBBBBI", 0, 16, 10, 5, 0, 10, 15),
    4: struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127),
    8: struct.pack("<HHBBBBI", 0, 64, 52, 11, 0, 52, 1023),
}
"""IEEE 754's properties as HDF5 writes them: other floats, bfloat16 among them, are not misread as these."""


def datatype(body: bytes) -> Kind:
    """What an array or an attribute is made of."""
    kind, bits, size = (
        body[0] & 0x0F if body else 0,
        body[1:4],
        int.from_bytes(exactly(body, 8)[4:], "little"),
    )
    order = ">" if bits[0] & 1 else "<"
    if kind == 1 and size in _FLOATS and body[8:20] == _FLOATS[size] and not bits[0] & 0x40:
        return Kind(size, np.dtype(f"{order}f{size}"))
    if kind == 0 and size in (1, 2, 4, 8):
        return Kind(size, np.dtype(f"{order}{'i' if bits[0] & 8 else 'u'}{size}"))
    if kind == 3 and size:
        return Kind(size)
    if kind == 9 and bits[0] & 0x0F == 1 and size == 16:
        return Kind(size, in_heap=True)
    raise foreign(f"values of an unknown kind ({kind}, {size} bytes)")


def link_in(body: bytes) -> tuple[str, int]:
    """A link's name and the address that it leads to."""
    version, flags = struct.unpack("<BB", exactly(body, 2))
    if version != 1:
        raise damaged("a link is none")
    at = 2
    kind = 0
    if flags & 8:
        kind, at = exactly(body[at:], 1)[0], at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(exactly(body[at:], width), "little")
    name = decoded(exactly(body[at + width :], length))
    if kind != 0:
        raise link_outside(name)
    (target,) = struct.unpack("<Q", exactly(body[at + width + length :], 8))
    return name, target
