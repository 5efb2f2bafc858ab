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

from messages.errors import ErrorCode
from models.importing.keras.hdf5_messages import (
    ATTRIBUTE,
    CONTINUATION,
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    LAYOUT,
    LINK,
    LINK_INFO,
    SYMBOL_TABLE,
    Kind,
    compressed,
    damaged,
    dataspace,
    datatype,
    decoded,
    exactly,
    foreign,
    header_messages,
    link_in,
    link_outside,
    text_at,
)
from models.refusal import Refusal

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
_MAX_BLOCKS = 20_000
"""Blocks looked at in one file: object headers, tree nodes, heaps."""
_MAX_MESSAGES = 2_000

Attribute = str | tuple[str, ...] | NDArray[np.generic]


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
        if any(kind == LAYOUT for kind, _ in messages):
            raise Refusal(ErrorCode.BAD_WEIGHTS, f"{'/'.join(path)!r} holds numbers where a group is due.")
        group = Group()
        for kind, body in messages:
            if kind == ATTRIBUTE:
                name, value = self._attribute(body)
                group.attributes[name] = value
        group.links = self._links(messages)
        return group

    def has(self, *path: str) -> bool:
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
        kind: Kind | None = None
        place: bytes | None = None
        for message, body in self._messages(self._follow(path)):
            if message == EXTERNAL_FILES:
                raise Refusal(
                    ErrorCode.EXTERNAL_DATA,
                    f"The numbers of {name!r} lie in another file; save the model anew, whole.",
                )
            if message == FILTERS:
                raise compressed(name)
            if message == DATASPACE:
                shape = dataspace(body)
            elif message == DATATYPE:
                kind = datatype(body)
            elif message == LAYOUT:
                place = self._layout(body, name)
        if shape is None or kind is None or place is None:
            raise Refusal(ErrorCode.BAD_WEIGHTS, f"{name!r} holds no numbers; save the whole model anew.")
        if kind.dtype is None:
            raise Refusal(ErrorCode.BAD_WEIGHTS, f"{name!r} holds text where numbers are due.")
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
            raise Refusal(
                ErrorCode.TOO_COMPLEX, f"The file has more than {_MAX_BLOCKS} blocks; save it anew."
            )
        return self._slice(start, size)

    def _follow(self, path: tuple[str, ...]) -> int:
        address = self._root
        for name in path:
            links = self._links_at(address)
            if name not in links:
                raise Refusal(
                    ErrorCode.BAD_WEIGHTS,
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
            raise foreign(f"a superblock of version {head[8]}")
        if sizes != b"\x08\x08" or base != 0:
            raise foreign("addresses that are not 8 bytes from its start")
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
                raise foreign("an object header of an unknown version")
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
            for kind, body in header_messages(block, second, flags):
                if kind == CONTINUATION:
                    start, size = struct.unpack("<QQ", exactly(body, 16))
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
                        ErrorCode.TOO_COMPLEX, "An object of the file has too many parts; save it anew."
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
            if kind == SYMBOL_TABLE:
                tree, heap = struct.unpack("<QQ", exactly(body, 16))
                links.update(self._symbols(tree, self._local_heap(heap)))
            elif kind == LINK:
                name, target = link_in(body)
                links[name] = target
            elif kind == LINK_INFO and len(body) > 1:
                at = 2 + (8 if body[1] & 1 else 0)
                if exactly(body[at:], 8) != b"\xff" * 8:
                    raise foreign("groups indexed in the dense way")
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
                        raise link_outside(text_at(names, name_at))
                    yield text_at(names, name_at), target
            else:
                raise damaged("a group's index breaks off")

    # --- values

    def _layout(self, body: bytes, name: str) -> bytes:
        version, layout = struct.unpack("<BB", exactly(body, 2))
        if version not in (3, 4):
            raise foreign("an old form of array")
        if layout == 0:
            (size,) = struct.unpack("<H", exactly(body[2:], 2))
            return exactly(body[4:], size)
        if layout == 1:
            address, size = struct.unpack("<QQ", exactly(body[2:], 16))
            if address == _UNDEFINED:
                raise Refusal(
                    ErrorCode.BAD_WEIGHTS, f"{name!r} was never filled with numbers; save the model anew."
                )
            return self._slice(address, size)
        if layout == 3:
            raise Refusal(
                ErrorCode.EXTERNAL_DATA,
                f"The numbers of {name!r} are a view of another file; save the model anew, whole.",
            )
        raise compressed(name)

    def _attribute(self, body: bytes) -> tuple[str, Attribute]:
        version, flags, *sizes = struct.unpack("<BBHHH", exactly(body, 8))
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise foreign("an attribute of an unknown form")
        at = 9 if version == 3 else 8
        parts = []
        for size in sizes:
            parts.append(exactly(body[at:], size))
            at += size + (-size % 8 if version == 1 else 0)
        name = decoded(parts[0].split(b"\0")[0])
        kind, shape = datatype(parts[1]), dataspace(parts[2])
        count = prod(shape)
        content = exactly(body[at:], count * kind.size)
        if kind.dtype is not None:
            return name, np.frombuffer(content, kind.dtype, count=count).reshape(shape)
        pieces = [content[start : start + kind.size] for start in range(0, len(content), kind.size)]
        texts = tuple(decoded(self._in_heap(p) if kind.in_heap else p.rstrip(b"\0")) for p in pieces)
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
                return exactly(exactly(heap[at + 16 :], held), length)
            if not found:
                break
            at += 16 + held + -held % 8
        raise damaged("a text is not where it should be")
