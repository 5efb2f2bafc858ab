"""A folder of photos, and arrays of frames: files of any content under any name."""

from __future__ import annotations

import os
import random
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from services.capture.photo_sources import FolderSource
from services.capture.reader_messages import ReaderSettings
from services.capture.source import DamagedFrame, Source, SourceError
from services.capture.video_sources import NpySource
from services.config import Capture
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed

FRAMES = 6
_GRAIN = np.random.default_rng(5).integers(0, 255, (40, 60, 4), np.uint8)
_NAMES = (b"a", b"\xbb\xe7\xc1\xf8", "사진".encode(), b"\xff", b"a\nb", b"\x1b[2J", b" ", b"x" * 200, b"-rf")
_SUFFIXES = (b".jpg", b".PNG", b".bmp", b".webp", b".tif", b".gif", b".jp2", b".avif", b".ppm", b".heic")


class FolderDoor(Door):
    name = "folder"

    def open(self, folder: Path) -> None:
        self._folder = folder / "photos"
        self._folder.mkdir()
        self._settings = replace(ReaderSettings.of(Capture(photo_seconds=0.0001, loop=False)), hertz=10_000)
        self._pictures = [
            cv2.imencode(suffix, picture)[1].tobytes()
            for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff", ".jp2", ".ppm")
            for picture in (np.ascontiguousarray(_GRAIN[..., :3]),)
        ]
        self._pictures.append(cv2.imencode(".png", _GRAIN)[1].tobytes())
        self._pictures.append(cv2.imencode(".png", _GRAIN.astype(np.uint16) * 257)[1].tobytes())

    def feed(self, chance: random.Random) -> None:
        for each in self._folder.iterdir():
            each.rmdir() if each.is_dir() and not each.is_symlink() else each.unlink()
        try:
            source = self._array(chance) if chance.random() < 0.2 else self._photos(chance)
            try:
                _show(source)
            finally:
                source.close()
        except (SourceError, DamagedFrame):
            pass
        except Exception as error:
            names = [each.name for each in self._folder.iterdir()]
            raise DoorFailed(f"{type(error).__name__}: {error}, at {names!r}") from error

    def settle(self) -> None:
        """Each input has been dealt with when `feed` returns."""

    def close(self) -> None:
        """Nothing outlives an input."""

    def _photos(self, chance: random.Random) -> Source:
        for _ in range(chance.randint(1, 3)):
            name = os.fsdecode(chance.choice(_NAMES) + chance.choice(_SUFFIXES))
            path = self._folder / name
            if os.path.lexists(path):
                continue
            kind = chance.random()
            if kind < 0.05:
                path.mkdir()
            elif kind < 0.1:
                path.symlink_to(chance.choice(("/no/such", "/dev/full", "/", name)))
            else:
                path.write_bytes(self._content(chance))
        return FolderSource(self._folder, self._settings, chance.choice(((), (), ("a.jpg",))))

    def _content(self, chance: random.Random) -> bytes:
        picture = chance.choice(self._pictures)
        kind = chance.random()
        if kind < 0.1:
            return picture
        if kind < 0.2:
            return chance.choice(hostile.GARBAGE)
        if kind < 0.3:  # numbers in its header: mostly sizes
            at = chance.randrange(min(60, len(picture) - 4))
            number = chance.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 32)))
            return picture[:at] + struct.pack(chance.choice("<>") + "I", number) + picture[at + 4 :]
        return hostile.mutated(chance, picture)

    def _array(self, chance: random.Random) -> Source:
        path = self._folder / "frames.npy"
        with path.open("wb") as file:
            side = (0, 1, 4, 7, 9_000, 10**9, 2**63)
            count, channels = chance.choice((0, 1, 3, 10**20)), chance.choice((3, 3, 3, 0, 4))
            shape = (count, chance.choice(side), chance.choice(side), channels)
            kind = chance.choice(("|u1", "|u1", "<f4", "|O"))
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(chance.randrange(400)))
        if chance.random() < 0.4:
            path.write_bytes(hostile.mutated(chance, path.read_bytes()))
        return NpySource(path, self._settings)


def _show(source: Source) -> None:
    for _ in range(FRAMES):
        try:
            frame = source.read()
        except DamagedFrame:
            continue
        if frame is None:
            return
        source.view.encode()  # goes out with the frame
        if frame.pixels.ndim != 3 or frame.pixels.dtype != np.uint8:
            raise DoorFailed(f"{frame.pixels.shape} is no frame")


DOOR = FolderDoor
