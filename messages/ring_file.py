"""How a frame ring lies in its file, and the locks on it. Linux; NumPy and the standard library alone.

The file: a few words of header, the words of each slot, then from the next page on their pixels. A slot's
words are its frame's generation, height and width, what is announced of it, and its view as text. Slot n is
guarded by a lock on byte n of the file. The locks belong to the open file (`F_OFD_SETLK`), not to the
process, so that a process may read the ring that it writes; the kernel gives them back when the process
ends, however it ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Pixels: TypeAlias = "npt.NDArray[np.uint8]"

MAX_SLOTS = 64

_MAGIC = 0x32474E4952524143  # "CARRING2"
_MAGIC_WORD, _SLOTS_WORD, _SLOT_BYTES_WORD, _NEWEST_WORD = range(4)
_FIRST_SLOT_WORD = 8
MAX_VIEW_BYTES = 256
_GENERATION, _HEIGHT, _WIDTH, _FRAME_ID, _CAPTURED, _WRITTEN, _WALL, _VIEW_BYTES, _VIEW = range(9)
_TOLD = struct.Struct(f"{_VIEW}Q")
_WORDS_PER_SLOT = _VIEW + MAX_VIEW_BYTES // 8
_ALIGNMENT = 4096


def _lock_requests(kind: int) -> tuple[bytes, ...]:
    """`struct flock` for each slot's byte, as 64-bit Linux has it."""
    return tuple(struct.pack("hhqqi4x", kind, os.SEEK_SET, slot, 1, 0) for slot in range(MAX_SLOTS))


_SHARED = _lock_requests(fcntl.F_RDLCK)
_EXCLUSIVE = _lock_requests(fcntl.F_WRLCK)
_NONE = _lock_requests(fcntl.F_UNLCK)


class NoRing(ValueError):
    """The file is no frame ring."""


class RingFile:
    """One opening of a ring, with its own locks: by `create` to write, by `open` to read."""

    def __init__(self, fd: int, mapped: mmap.mmap, slots: int, slot_bytes: int) -> None:
        self._fd = fd
        self._map = mapped
        self._words = memoryview(mapped).cast("Q")
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._pixels = _aligned(8 * (_FIRST_SLOT_WORD + slots * _WORDS_PER_SLOT))
        self._stride = _aligned(slot_bytes)
        self._views: dict[int, Pixels] = {}
        """Of each slot the last, which mostly is the next one's, too."""

    @classmethod
    def create(cls, path: Path, slots: int, slot_bytes: int) -> RingFile:
        """Make the file, all of its memory with it. Raises OSError and leaves nothing."""
        size = file_size(slots, slot_bytes)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            # Not ftruncate: the missing page would be found at the first write to it, by SIGBUS.
            os.posix_fallocate(fd, 0, size)
            mapped = _map_file(path, size, mmap.PROT_READ | mmap.PROT_WRITE)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        words = memoryview(mapped).cast("Q")
        words[_SLOTS_WORD] = slots
        words[_SLOT_BYTES_WORD] = slot_bytes
        words[_MAGIC_WORD] = _MAGIC
        return cls(fd, mapped, slots, slot_bytes)

    @classmethod
    def open(cls, path: Path) -> RingFile:
        """Open a ring to read. Raises OSError; NoRing where the file holds something else."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or not status.st_size or status.st_size % _ALIGNMENT:
                raise NoRing(f"{path} is no frame ring.")
            mapped = _map_file(path, status.st_size, mmap.PROT_READ)
            words = memoryview(mapped).cast("Q")
            magic, slots, slot_bytes = words[_MAGIC_WORD], words[_SLOTS_WORD], words[_SLOT_BYTES_WORD]
            if magic != _MAGIC or slots > MAX_SLOTS or file_size(slots, slot_bytes) != status.st_size:
                raise NoRing(f"{path} is no frame ring.")
            return cls(fd, mapped, slots, slot_bytes)
        except BaseException:
            os.close(fd)
            raise

    def lock_to_read(self, slot: int) -> bool:
        """False where the writer has the slot. A second lock of the same opening is the first one still."""
        return self._lock(_SHARED[slot])

    def lock_to_write(self, slot: int) -> bool:
        """False where a reader has the slot."""
        return self._lock(_EXCLUSIVE[slot])

    def _lock(self, request: bytes) -> bool:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
        except BlockingIOError:
            return False
        return True

    def unlock(self, slot: int) -> None:
        if self._fd >= 0:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _NONE[slot])

    def begin(self, slot: int, height: int, width: int) -> Pixels:
        """The pixels of a slot that is locked to write. Until `publish` it holds no frame."""
        words, first = self._words, _FIRST_SLOT_WORD + slot * _WORDS_PER_SLOT
        words[first + _GENERATION] = 0  # stays so if this process is killed from here on
        words[first + _HEIGHT] = height
        words[first + _WIDTH] = width
        return self.pixels(slot, height, width)

    def publish(self, slot: int, generation: int) -> None:
        self._words[_FIRST_SLOT_WORD + slot * _WORDS_PER_SLOT + _GENERATION] = generation

    def describe(self, slot: int, frame_id: int, captured_ns: int, view: bytes) -> None:
        """Store what is to be announced of the frame. Before `publish`."""
        first = _FIRST_SLOT_WORD + slot * _WORDS_PER_SLOT
        self._words[first + _FRAME_ID] = frame_id
        self._words[first + _CAPTURED] = captured_ns
        self._words[first + _WRITTEN] = time.monotonic_ns()
        self._words[first + _WALL] = time.time_ns() // 1000
        self._words[first + _VIEW_BYTES] = len(view)
        begin = (first + _VIEW) * 8
        self._map[begin : begin + len(view)] = view

    def announce(self, slot: int) -> None:
        """Wake who watches the ring's folder (`ring_watch`). After `unlock`: they take the frame at once."""
        os.pwrite(self._fd, slot.to_bytes(8, "little"), _NEWEST_WORD * 8)

    def announced(self) -> tuple[int, tuple[int, ...], bytes] | None:
        """The slot announced last, its words, its view; None where it is being written.

        It is not locked: who then takes the frame by this generation finds out whether all this still holds.
        """
        slot = self._words[_NEWEST_WORD] % self.slots
        begin = 8 * (_FIRST_SLOT_WORD + slot * _WORDS_PER_SLOT)
        told = _TOLD.unpack_from(self._map, begin)
        view = self._map[begin + _TOLD.size : begin + _TOLD.size + min(told[_VIEW_BYTES], MAX_VIEW_BYTES)]
        return (slot, told, view) if self._words[begin // 8] == told[_GENERATION] > 0 else None

    def holds(self, slot: int, generation: int, height: int, width: int) -> bool:
        """Whether the slot holds this very frame; it must be locked."""
        words, first = self._words, _FIRST_SLOT_WORD + slot * _WORDS_PER_SLOT
        return (
            words[first + _GENERATION] == generation > 0
            and words[first + _HEIGHT] == height
            and words[first + _WIDTH] == width
        )

    def pixels(self, slot: int, height: int, width: int) -> Pixels:
        """A view of the slot, (height, width, 3); read-only where the ring was opened to read."""
        view = self._views.get(slot)
        if view is None or view.shape[0] != height or view.shape[1] != width:
            import numpy as np  # here, so that who only names a ring stays light

            offset = self._pixels + slot * self._stride
            view = self._views[slot] = np.ndarray((height, width, 3), np.uint8, self._map, offset)
        return view

    def close(self) -> None:
        """Give all locks back. The mapping goes with its last view: unmapped under one, it would crash."""
        self._views.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def file_size(slots: int, slot_bytes: int) -> int:
    """Bytes of a ring's file."""
    return _aligned(8 * (_FIRST_SLOT_WORD + slots * _WORDS_PER_SLOT)) + slots * _aligned(slot_bytes)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _map_file(path: Path, size: int, protection: int) -> mmap.mmap:
    """Map the file with all its pages present, so that the first frames cost no page faults.

    Through a descriptor of its own: a mapping keeps a duplicate, and one of the lock's would keep the locks.
    """
    mode = os.O_RDWR if protection & mmap.PROT_WRITE else os.O_RDONLY
    fd = os.open(path, mode | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, protection)
    finally:
        os.close(fd)
