"""The frame ring: pixels from one writing process to any number of reading ones, in shared memory.

A ring is one file `frames-<id>.ring` in a folder of a tmpfs, allocated whole and never truncated, with a few
slots of one frame each. The writer writes a slot under an exclusive lock, a reader holds a shared one while
it looks, so no frame is ever torn. The writer takes any slot that nobody holds: a slow reader misses frames,
and neither slows another nor makes memory grow. The reference to a frame travels on the bus.

Taking a lock and giving it back are system calls, so they order memory on every processor; a sequence lock
written in Python would not. Needs Linux, and beside the standard library only NumPy.

After a fork the child must not share its parent's locks: its copy of a writer is closed, its copy of a reader
opens the ring anew, and what the parent holds isn't held by the child.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

from messages.ring_file import MAX_SLOTS, MAX_VIEW_BYTES, NoRing, Pixels, RingFile, file_size

MAX_SIDE = 16384

_ID_BYTES = 8
_ID = re.compile(r"[0-9a-f]{16}")
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM)


class RingError(OSError):
    """The ring can't be made; the message says why and what to do."""


class FrameGone(LookupError):
    """The frame was overwritten, its ring replaced, or it never was whole. Take the next one."""


class BadReference(FrameGone):
    """The reference names nothing that this ring could hold: it is corrupt or hostile."""


class FrameReference(NamedTuple):
    """Where a frame stands. `generation` counts the ring's frames from 1 and never comes again."""

    ring: str
    slot: int
    generation: int
    height: int
    width: int


class Announcement(NamedTuple):
    """What there is to know of a frame, beside where it stands: as in FrameReady."""

    frame_id: int
    captured_ns: int
    view: str


class NamesFrame(Protocol):
    """What a reader must know of a frame: a FrameReference, or a message with the same fields."""

    @property
    def ring(self) -> str: ...
    @property
    def slot(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


@dataclass(frozen=True)
class OpenSlot:
    """A slot that is being written: fill `pixels`; `reference` holds once the slot is published."""

    pixels: Pixels
    reference: FrameReference


class RingWriter:
    """Makes a ring in `folder` and is its only writer; removes the rings that earlier writers left there.

    `capacity` is the (height, width) of the largest frame; smaller ones fit, and other shapes of no more
    pixels. `slots` should be two more than there are readers. `dropped` counts the frames for which no slot
    was free. For one thread. Raises RingError where the ring can't be made.
    """

    def __init__(self, folder: Path, capacity: tuple[int, int], slots: int = 8) -> None:
        height, width = capacity
        if not (1 <= slots <= MAX_SLOTS and 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise ValueError(f"there can be no ring of {slots} slots of {width}×{height} pixels")
        self.id = os.urandom(_ID_BYTES).hex()
        self.dropped = 0
        self._path = _ring_path(folder, self.id)
        self._generation = 0
        self._oldest_first = deque(range(slots))
        self._file: RingFile | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            remove_rings(folder)
            self._file = RingFile.create(self._path, slots, height * width * 3)
        except OSError as error:
            raise _ring_error(error, folder, file_size(slots, height * width * 3)) from error
        _forgets_parent.add(self)

    def write(self, frame: Pixels, announcement: Announcement | None = None) -> FrameReference | None:
        """Copy a frame into the ring; None, counted in `dropped`, where all slots are held.

        With an announcement who watches the ring (`ring_watch`) is woken, and gets it with the frame.

        Raises ValueError for what is no (height, width, 3) uint8 array, or too large.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != "uint8":
            raise ValueError(f"a frame is (height, width, 3) uint8, not {frame.shape} {frame.dtype}")
        height, width, _ = frame.shape
        number = self._take(height, width)
        if number is None:
            return None
        self._open_file().begin(number, height, width)[...] = frame
        return self._publish(number, height, width, announcement)

    @contextmanager
    def slot(self, height: int, width: int) -> Iterator[OpenSlot | None]:
        """A slot to decode straight into, published where the block ends without an exception.

        None, counted in `dropped`, where all slots are held. Don't touch its pixels after the block.
        """
        number = self._take(height, width)
        if number is None:
            yield None
            return
        file = self._open_file()
        reference = FrameReference(self.id, number, self._generation + 1, height, width)
        try:
            yield OpenSlot(file.begin(number, height, width), reference)
        except BaseException:
            self._generation += 1
            self._oldest_first.appendleft(number)
            file.unlock(number)
            raise
        self._publish(number, height, width)

    def _open_file(self) -> RingFile:
        if self._file is None:
            raise ValueError("this ring is closed")
        return self._file

    def _take(self, height: int, width: int) -> int | None:
        """Lock the oldest slot that nobody holds; None, counted, where there is none."""
        file = self._open_file()
        if height < 1 or width < 1 or height * width * 3 > file.slot_bytes:
            raise ValueError(f"a frame of {width}×{height} pixels doesn't fit {file.slot_bytes} bytes")
        for number in self._oldest_first:
            if file.lock_to_write(number):
                self._oldest_first.remove(number)
                return number
        self.dropped += 1
        return None

    def _publish(
        self, number: int, height: int, width: int, announcement: Announcement | None = None
    ) -> FrameReference:
        """What was written to the locked slot is a frame from here on."""
        self._generation += 1
        self._oldest_first.append(number)
        file = self._open_file()
        if announcement is not None:
            view = announcement.view.encode(errors="replace")[:MAX_VIEW_BYTES]
            file.describe(number, announcement.frame_id, announcement.captured_ns, view)
        file.publish(number, self._generation)
        file.unlock(number)
        if announcement is not None:
            file.announce(number)
        return FrameReference(self.id, number, self._generation, height, width)

    def close(self) -> None:
        """Remove the file. Readers keep what they hold."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._forget_parent()

    def _forget_parent(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class RingReader:
    """Reads frames from whichever ring in `folder` a reference names. Threads may share one.

    The ring is opened when the first reference to it comes and kept until one to another ring does: a reader
    needs no writer to start with, follows a restarted one, and sees the old ring's frames until it does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._ring: _HeldRing | None = None
        _forgets_parent.add(self)

    def frame(self, reference: NamesFrame) -> FrameHold:
        """Hold a frame while looking at it: `with reader.frame(reference) as pixels`.

        `pixels` is a read-only view (height, width, 3) of the ring itself, good until the block ends: copy
        what is to be kept. It keeps a slot from the writer, so be brief. Entering the block raises FrameGone
        where the frame is there no longer, and its subclass BadReference for one that can't be.
        """
        return FrameHold(self, reference)

    def close(self) -> None:
        """Let the ring go. What is held stays so until its block ends; a later frame opens the ring again."""
        with self._guard:
            if self._ring is not None:
                self._ring.retire()
                self._ring = None

    def _follow(self, ring_id: str) -> _HeldRing:
        if self._ring is None or self._ring.id != ring_id:
            ring = _HeldRing(self._folder, ring_id)
            if self._ring is not None:
                self._ring.retire()
            self._ring = ring
        return self._ring

    def _forget_parent(self) -> None:
        self._guard = threading.Lock()  # another thread of the parent may have had it
        if self._ring is not None:
            self._ring.file.close()
            self._ring = None


class FrameHold:
    """One look at one frame; see `RingReader.frame`."""

    __slots__ = ("_reader", "_reference", "_ring")

    def __init__(self, reader: RingReader, reference: NamesFrame) -> None:
        self._reader = reader
        self._reference = reference

    def __enter__(self) -> Pixels:
        with self._reader._guard:
            self._ring = self._reader._follow(self._reference.ring)
            return self._ring.hold(self._reference)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._reader._guard:
            self._ring.release(self._reference.slot)


class _HeldRing:
    """A ring as one reader has it open. Its locks are the reader's, not the block's, so holds are counted."""

    def __init__(self, folder: Path, ring_id: str) -> None:
        if not _ID.fullmatch(ring_id):
            raise BadReference(f"{ring_id[:40]!r} names no ring")
        try:
            self.file = RingFile.open(_ring_path(folder, ring_id))
        except OSError as error:
            raise FrameGone(f"ring {ring_id} can't be opened ({error.strerror})") from error
        except NoRing as error:
            raise BadReference(str(error)) from error
        self.id = ring_id
        self._holds = [0] * self.file.slots
        self._retired = False

    def hold(self, wanted: NamesFrame) -> Pixels:
        slot, height, width = wanted.slot, wanted.height, wanted.width
        if not 0 <= slot < self.file.slots:
            raise BadReference(f"ring {self.id} has no slot {slot}")
        if height < 1 or width < 1 or height * width * 3 > self.file.slot_bytes:
            raise BadReference(f"ring {self.id} holds no frame of {width}×{height} pixels")
        if not self._holds[slot] and not self.file.lock_to_read(slot):
            raise FrameGone("the frame is being overwritten")
        if not self.file.holds(slot, wanted.generation, height, width):
            if not self._holds[slot]:
                self.file.unlock(slot)
            raise FrameGone("the frame was overwritten")
        self._holds[slot] += 1
        return self.file.pixels(slot, height, width)

    def release(self, slot: int) -> None:
        self._holds[slot] -= 1
        if self._holds[slot] == 0:
            self.file.unlock(slot)
            if self._retired:
                self.retire()

    def retire(self) -> None:
        """Close as soon as nothing is held any more."""
        self._retired = True
        if not any(self._holds):
            self.file.close()


def remove_rings(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`. Readers keep what they hold."""
    for left in folder.glob("frames-*.ring"):
        left.unlink(missing_ok=True)


def _ring_path(folder: Path, ring_id: str) -> Path:
    return folder / f"frames-{ring_id}.ring"


def _ring_error(error: OSError, folder: Path, size: int) -> RingError:
    if error.errno in _NO_ROOM:
        text = (
            f"No room for the frame ring: {size / (1 << 20):.1f} MiB in {folder} ({error.strerror}); "
            f"make room there, or take smaller frames (capture.width, capture.height)."
        )
    else:
        text = (
            f"The frame ring can't be made in {folder} ({error.strerror}); "
            f"give that folder to this user, or set another (paths.runtime)."
        )
    made = RingError(text)
    made.errno = error.errno
    return made


_forgets_parent: weakref.WeakSet[RingWriter | RingReader] = weakref.WeakSet()


def _forget_parent() -> None:
    for each in list(_forgets_parent):
        each._forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
