"""Wakes a process when a frame is announced in a ring of a folder, and says which: quicker than any socket.

A writer that announces a frame stores what there is to know of it among the slot's words, and writes the
slot's number through the file (`RingFile.announce`). So the kernel's inotify wakes who watches the folder.
The writer need not know them: a slow or killed one costs it nothing. Linux.
"""

from __future__ import annotations

import os
import struct
import weakref
from datetime import UTC, datetime
from pathlib import Path

from messages.message import unchecked
from messages.ring_file import NoRing, RingFile
from messages.vision import FrameReady

_MODIFIED, _DELETED, _ONLY_A_FOLDER = 0x2, 0x200, 0x0100_0000  # of sys/inotify.h
_EVENT = struct.Struct("iIII")
_EVENTS_BYTES = 4096
_RING_ID = slice(len("frames-"), -len(".ring"))


class RingWatch:
    """Frames announced in a folder. `descriptor` can be read when there is a new one; for one thread."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder, self._source = folder, source
        import ctypes  # here, so that who watches no frames stays light

        self._libc = ctypes.CDLL(None)
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        """Negative where the kernel has no more of them for this user: then frames come by the bus alone."""
        self._give_back = weakref.finalize(self, _close, self.descriptor)
        self._watch = -1
        self._ring: RingFile | None = None
        self._name, self._id = b"", ""

    @property
    def is_open(self) -> bool:
        return self._watch >= 0

    def open(self) -> None:
        """Watch the folder, where there is one, until a ring in it is removed."""
        if not self.is_open and self.descriptor >= 0:
            mask = _MODIFIED | _DELETED | _ONLY_A_FOLDER
            self._watch = self._libc.inotify_add_watch(self.descriptor, os.fsencode(self._folder), mask)

    def newest(self) -> FrameReady | None:
        """The newest frame, where one was announced since the last call."""
        try:
            events = os.read(self.descriptor, _EVENTS_BYTES)
        except OSError:  # nothing new
            return None
        at, name = 0, b""
        while at < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size + length
            if mask & _MODIFIED:
                name = events[at - length : at].rstrip(b"\0")
            elif watch == self._watch:  # a ring is gone, and perhaps its folder with it, for another one
                self._leave()
                name = b""
        ring = self._follow(name) if name else None
        return None if ring is None else self._announced(ring)

    def _follow(self, name: bytes) -> RingFile | None:
        """The ring of that name, which stays open until another announces a frame."""
        if name != self._name:
            self._forget()
            try:
                self._ring = RingFile.open(self._folder / os.fsdecode(name))
            except (OSError, NoRing, ValueError):
                return None
            self._name = name
            self._id = name[_RING_ID].decode(errors="replace")
        return self._ring

    def _announced(self, ring: RingFile) -> FrameReady | None:
        told = ring.announced()
        if told is None:
            return None
        slot, (generation, height, width, frame_id, captured_ns, written_ns, wall_us, _), view = told
        try:
            wall_time = datetime.fromtimestamp(wall_us / 1e6, UTC)
        except (OverflowError, ValueError, OSError):
            return None
        return unchecked(
            FrameReady,
            {
                "version": FrameReady.VERSION,
                "source": self._source,
                "boot_id": self._id,
                "sequence": generation,
                "monotonic_ns": written_ns,
                "wall_time": wall_time,
                "frame_id": frame_id,
                "captured_ns": captured_ns,
                "view": view.decode(errors="ignore"),
                "ring": self._id,
                "slot": slot,
                "generation": generation,
                "height": height,
                "width": width,
            },
        )

    def _leave(self) -> None:
        self._libc.inotify_rm_watch(self.descriptor, self._watch)
        self._watch = -1
        self._forget()

    def _forget(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring, self._name = None, b""

    def close(self) -> None:
        self._forget()
        self._give_back()
        self.descriptor = -1


def _close(descriptor: int) -> None:
    """Also where nobody called `close`: a user has few of them, 128 as a rule."""
    if descriptor >= 0:
        os.close(descriptor)
