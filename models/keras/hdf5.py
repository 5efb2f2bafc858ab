"""Read HDF5 as data: groups, attributes and contiguous arrays, and nothing else.

Keras writes a small part of HDF5, and this reads that part, after the "HDF5 File Format Specification
Version 3.0" (The HDF Group). What could reach outside the file, run a filter or unfold a small file into a
large one has no code here: external and soft links, virtual and chunked layouts, filters, shared datatypes.
Every offset is checked before it is followed, every size before anything is made of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from models.refusal import Reason, Refusal

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
_MAX_BLOCKS = 20_000
"""Blocks looked at in one file: object headers, tree nodes, heaps."""
_MAX_MESSAGES = 2_000
_MAX_RANK = 8

# Messages of an object header (section IV.A.2 of the specification).
_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL_FILES = 0x01, 0x02, 0x03, 0x06, 0x07
_LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION = 0x08, 0x0B, 0x0C, 0x10
_SYMBOL_TABLE, _ATTRIBUTE_INFO = 0x11, 0x15

Attribute = str | tuple[str, ...] | NDArray[np.generic]


def damaged(what: str) -> Refusal:
    return Refusal(
        Reason.DAMAGED, f"The file is damaged or cut off ({what}); copy it again, or save it anew."
    )


def _foreign(what: str) -> Refusal:
    return Refusal(
        Reason.UNSUPPORTED_LAYOUT,
        f"The file holds {what}, which Keras doesn't write; save it with model.save(…).",
    )


@dataclass(frozen=True)
class _Kind:
    """An HDF5 datatype: numbers of `dtype`, or text of `size` bytes, or text kept in a heap."""

    size: int
    dtype: np.dtype[np.generic] | None = None
    in_heap: bool = False


@dataclass
class Group:
    """A group: its links by name, resolved when asked for, and its attributes."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)


class File:
    """The HDF5 file that `content` is. Raises Refusal wherever something is not as it should be."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._blocks = 0
        self._groups: dict[int, dict[str, int]] = {}
        self._root = self._superblock()

    def group(self, *path: str) -> Group:
        """The group at `path`, a name a step, from the root. Raises Refusal where there is none."""
        address = self._follow(path)
        messages = self._messages(address)
        if any(kind == _LAYOUT for kind, _ in messages):
            raise Refusal(Reason.BAD_WEIGHTS, f"{'/'.join(path)!r} holds numbers where a group is due.")
        group = Group()
        for kind, body in messages:
            if kind == _ATTRIBUTE:
                name, value = self._attribute(body)
                group.attributes[name] = value
        group.links = self._links(messages)
        return group

    def has(self, *path: str) -> bool:
        """Whether something is at `path`."""
        address = self._root
        for name in path:
            links = self._links_at(address)
            if name not in links:
                return False
            address = links[name]
        return True

    def shape(self, *path: str) -> tuple[int, ...]:
        """The shape of the array at `path`; nothing of it is read."""
        return self._array_at(path)[0]

    def array(self, *path: str) -> NDArray[np.generic]:
        """The array at `path`, read-only, float16 to float64 or integers. Raises Refusal."""
        shape, dtype, place = self._array_at(path)
        return np.frombuffer(place, dtype, count=prod(shape)).reshape(shape)

    def _array_at(self, path: tuple[str, ...]) -> tuple[tuple[int, ...], np.dtype[np.generic], bytes]:
        name = "/".join(path)
        shape: tuple[int, ...] | None = None
        kind: _Kind | None = None
        place: bytes | None = None
        for message, body in self._messages(self._follow(path)):
            if message == _EXTERNAL_FILES:
                raise Refusal(
                    Reason.EXTERNAL_DATA,
                    f"The numbers of {name!r} lie in another file; save the model anew, whole.",
                )
            if message == _FILTERS:
                raise _compressed(name)
            if message == _DATASPACE:
                shape = _dataspace(body)
            elif message == _DATATYPE:
                kind = _datatype(body)
            elif message == _LAYOUT:
                place = self._layout(body, name)
        if shape is None or kind is None or place is None:
            raise Refusal(Reason.BAD_WEIGHTS, f"{name!r} holds no numbers; save the whole model anew.")
        if kind.dtype is None:
            raise Refusal(Reason.BAD_WEIGHTS, f"{name!r} holds text where numbers are due.")
        if prod(shape) * kind.size != len(place):
            raise damaged(f"{name!r} has {len(place)} bytes for the shape {shape}")
        return shape, kind.dtype, place

    # --- where things are

    def _slice(self, start: int, size: int) -> bytes:
        if not 0 <= start <= start + size <= len(self._content):
            raise damaged(f"it points to byte {start + size} of {len(self._content)}")
        return self._content[start : start + size]

    def _block(self, start: int, size: int) -> bytes:
        self._blocks += 1
        if self._blocks > _MAX_BLOCKS:
            raise Refusal(Reason.TOO_COMPLEX, f"The file has more than {_MAX_BLOCKS} blocks; save it anew.")
        return self._slice(start, size)

    def _follow(self, path: tuple[str, ...]) -> int:
        address = self._root
        for name in path:
            links = self._links_at(address)
            if name not in links:
                raise Refusal(
                    Reason.BAD_WEIGHTS,
                    f"The file lacks {'/'.join(path)!r}; save the whole model with model.save(…).",
                )
            address = links[name]
        return address

    def _superblock(self) -> int:
        head = self._slice(0, 9)
        if head[:8] != SIGNATURE:
            raise damaged("no HDF5 signature")
        if head[8] in (0, 1):
            sizes, start = self._slice(13, 2), 24 if head[8] == 0 else 28
            base, _, end, _ = struct.unpack("<4Q", self._slice(start, 32))
            (root,) = struct.unpack("<Q", self._slice(start + 40, 8))
        elif head[8] in (2, 3):
            sizes = self._slice(9, 2)
            base, _, end, root = struct.unpack("<4Q", self._slice(12, 32))
        else:
            raise _foreign(f"a superblock of version {head[8]}")
        if sizes != b"\x08\x08" or base != 0:
            raise _foreign("addresses that are not 8 bytes from its start")
        if end > len(self._content):
            raise damaged(f"{len(self._content)} of {end} bytes are there")
        return int(root)

    # --- object headers

    def _messages(self, address: int) -> list[tuple[int, bytes]]:
        """Type and body of an object's messages, in version 1 or 2 of the header."""
        messages: list[tuple[int, bytes]] = []
        second = self._block(address, 4) == b"OHDR"
        flags = self._slice(address + 5, 1)[0] if second else 0
        if second:
            if self._slice(address + 4, 1) != b"\x02":
                raise _foreign("an object header of an unknown version")
            at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            pending = [(at + width, int.from_bytes(self._slice(at, width), "little"))]
        else:
            version, _, _, _, size = struct.unpack("<BBHII", self._slice(address, 12))
            if version != 1:
                raise damaged("an object header of an unknown version")
            pending = [(address + 16, size)]
        seen = {pending[0][0]}
        while pending:
            block = self._block(*pending.pop())
            for kind, body in _header_messages(block, second, flags):
                if kind == _CONTINUATION:
                    start, size = struct.unpack("<QQ", _exactly(body, 16))
                    if start in seen:
                        raise damaged("an object header runs in a circle")
                    seen.add(start)
                    if second:
                        if self._slice(start, 4) != b"OCHK" or size < 8:
                            raise damaged("an object header breaks off")
                        start, size = start + 4, size - 8
                    pending.append((start, size))
                messages.append((kind, body))
                if len(messages) > _MAX_MESSAGES:
                    raise Refusal(
                        Reason.TOO_COMPLEX, "An object of the file has too many parts; save it anew."
                    )
        return messages

    # --- groups

    def _links_at(self, address: int) -> dict[str, int]:
        """The links of the group there, looked up once."""
        if address not in self._groups:
            self._groups[address] = self._links(self._messages(address))
        return self._groups[address]

    def _links(self, messages: list[tuple[int, bytes]]) -> dict[str, int]:
        links: dict[str, int] = {}
        for kind, body in messages:
            if kind == _SYMBOL_TABLE:
                tree, heap = struct.unpack("<QQ", _exactly(body, 16))
                links.update(self._symbols(tree, self._local_heap(heap)))
            elif kind == _LINK:
                name, target = _link(body)
                links[name] = target
            elif kind == _LINK_INFO and len(body) > 1:
                at = 2 + (8 if body[1] & 1 else 0)
                if _exactly(body[at:], 8) != b"\xff" * 8:
                    raise _foreign("groups indexed in the dense way")
        return links

    def _local_heap(self, address: int) -> bytes:
        signature, _, size, _, data = struct.unpack("<4sIQQQ", self._block(address, 32))
        if signature != b"HEAP":
            raise damaged("a group has no names")
        return self._slice(data, size)

    def _symbols(self, root: int, names: bytes) -> Iterator[tuple[str, int]]:
        pending, seen = [root], {root}
        while pending:
            address = pending.pop()
            signature = self._block(address, 4)
            if signature == b"TREE":
                kind, _, used = struct.unpack("<BBH", self._slice(address + 4, 4))
                if kind != 0:
                    raise damaged("a group's index is none")
                keys_and_children = self._slice(address + 24, used * 16)
                children = [child for _, child in struct.iter_unpack("<QQ", keys_and_children)]
                if seen & set(children) or len(set(children)) < len(children):
                    raise damaged("a group's index runs in a circle")
                seen.update(children)
                pending.extend(reversed(children))
            elif signature == b"SNOD":
                (count,) = struct.unpack("<H", self._slice(address + 6, 2))
                entries = self._slice(address + 8, count * 40)
                for name_at, target, cache, _, _ in struct.iter_unpack("<QQII16s", entries):
                    if cache == 2:
                        raise _link_outside(_text_at(names, name_at))
                    yield _text_at(names, name_at), target
            else:
                raise damaged("a group's index breaks off")

    # --- values

    def _layout(self, body: bytes, name: str) -> bytes:
        version, layout = struct.unpack("<BB", _exactly(body, 2))
        if version not in (3, 4):
            raise _foreign("an old form of array")
        if layout == 0:
            (size,) = struct.unpack("<H", _exactly(body[2:], 2))
            return _exactly(body[4:], size)
        if layout == 1:
            address, size = struct.unpack("<QQ", _exactly(body[2:], 16))
            if address == _UNDEFINED:
                raise Refusal(
                    Reason.BAD_WEIGHTS, f"{name!r} was never filled with numbers; save the model anew."
                )
            return self._slice(address, size)
        if layout == 3:
            raise Refusal(
                Reason.EXTERNAL_DATA,
                f"The numbers of {name!r} are a view of another file; save the model anew, whole.",
            )
        raise _compressed(name)

    def _attribute(self, body: bytes) -> tuple[str, Attribute]:
        version, flags, *sizes = struct.unpack("<BBHHH", _exactly(body, 8))
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise _foreign("an attribute of an unknown form")
        at = 9 if version == 3 else 8
        parts = []
        for size in sizes:
            parts.append(_exactly(body[at:], size))
            at += size + (-size % 8 if version == 1 else 0)
        name = _decode(parts[0].split(b"\0")[0])
        kind, shape = _datatype(parts[1]), _dataspace(parts[2])
        count = prod(shape)
        content = _exactly(body[at:], count * kind.size)
        if kind.dtype is not None:
            return name, np.frombuffer(content, kind.dtype, count=count).reshape(shape)
        pieces = [content[start : start + kind.size] for start in range(0, len(content), kind.size)]
        texts = tuple(_decode(self._in_heap(p) if kind.in_heap else p.rstrip(b"\0")) for p in pieces)
        return name, texts if shape else texts[0]

    def _in_heap(self, reference: bytes) -> bytes:
        length, address, index = struct.unpack("<IQI", reference)
        if length == 0:
            return b""
        signature, size = struct.unpack("<4s4xQ", self._block(address, 16))
        if signature != b"GCOL":
            raise damaged("a text is not where it should be")
        heap, at = self._slice(address, size), 16
        while at + 16 <= len(heap):
            found, _, held = struct.unpack_from("<HH4xQ", heap, at)
            if found == index and found:
                return _exactly(_exactly(heap[at + 16 :], held), length)
            if not found:
                break
            at += 16 + held + -held % 8
        raise damaged("a text is not where it should be")


def _compressed(name: str) -> Refusal:
    return Refusal(
        Reason.COMPRESSED, f"The numbers of {name!r} are chunked or compressed; save it with model.save(…)."
    )


def _link_outside(name: str) -> Refusal:
    return Refusal(
        Reason.EXTERNAL_DATA,
        f"{name!r} is a link to somewhere else; save the model anew, whole, with model.save(…).",
    )


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) < size:
        raise damaged("a part of it is too short")
    return content[:size]


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise damaged("a name or text is no UTF-8") from None


def _text_at(names: bytes, start: int) -> str:
    end = names.find(b"\0", start)
    if end < 0:
        raise damaged("a name breaks off")
    return _decode(names[start:end])


def _header_messages(block: bytes, second: bool, flags: int) -> Iterator[tuple[int, bytes]]:
    at, head = 0, (6 if flags & 4 else 4) if second else 8
    while at + head <= len(block):
        if second:
            kind, size, shared = struct.unpack_from("<BHB", block, at)
        else:
            kind, size, shared = struct.unpack_from("<HHB", block, at)
        body = block[at + head : at + head + size]
        if len(body) < size:
            raise damaged("an object header breaks off")
        if shared & 2 and kind in (_DATASPACE, _DATATYPE, _FILTERS, _ATTRIBUTE):
            raise _foreign("types shared between arrays")
        if kind == _ATTRIBUTE_INFO and len(body) > 1:
            heap = 2 + (2 if body[1] & 1 else 0)
            if _exactly(body[heap:], 8) != b"\xff" * 8:
                raise _foreign("attributes indexed in the dense way")
        yield kind, body
        at += head + size


def _dataspace(body: bytes) -> tuple[int, ...]:
    version, rank, _, kind = struct.unpack("<4B", _exactly(body, 4))
    if version == 2 and kind == 2:
        return (0,)
    if version not in (1, 2) or rank > _MAX_RANK:
        raise damaged("an array's shape is none")
    return struct.unpack(f"<{rank}Q", _exactly(body[8 if version == 1 else 4 :], 8 * rank))


_FLOATS = {
    # size: bit offset, precision, exponent's place and size, mantissa's place and size, exponent's bias
    2: struct.pack("<HHBBBBI", 0, 16, 10, 5, 0, 10, 15),
    4: struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127),
    8: struct.pack("<HHBBBBI", 0, 64, 52, 11, 0, 52, 1023),
}
"""IEEE 754's properties as HDF5 writes them: other floats, bfloat16 among them, are not misread as these."""


def _datatype(body: bytes) -> _Kind:
    kind, bits, size = (
        body[0] & 0x0F if body else 0,
        body[1:4],
        int.from_bytes(_exactly(body, 8)[4:], "little"),
    )
    order = ">" if bits[0] & 1 else "<"
    if kind == 1 and size in _FLOATS and body[8:20] == _FLOATS[size] and not bits[0] & 0x40:
        return _Kind(size, np.dtype(f"{order}f{size}"))
    if kind == 0 and size in (1, 2, 4, 8):
        return _Kind(size, np.dtype(f"{order}{'i' if bits[0] & 8 else 'u'}{size}"))
    if kind == 3 and size:
        return _Kind(size)
    if kind == 9 and bits[0] & 0x0F == 1 and size == 16:
        return _Kind(size, in_heap=True)
    raise _foreign(f"values of an unknown kind ({kind}, {size} bytes)")


def _link(body: bytes) -> tuple[str, int]:
    version, flags = struct.unpack("<BB", _exactly(body, 2))
    if version != 1:
        raise damaged("a link is none")
    at = 2
    kind = 0
    if flags & 8:
        kind, at = _exactly(body[at:], 1)[0], at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(_exactly(body[at:], width), "little")
    name = _decode(_exactly(body[at + width :], length))
    if kind != 0:
        raise _link_outside(name)
    (target,) = struct.unpack("<Q", _exactly(body[at + width + length :], 8))
    return name, target
