"""Frames from files: a folder of photos, one photo, a video, an array of decoded frames."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from services.capture.decoded import DecodedFrames
from services.capture.photo import PhotoError, read_photo
from services.capture.picture_header import PHOTO_SUFFIXES
from services.capture.source import Frame, Pace, Pixels, Source, SourceError


class FolderSource(Source):
    """Photos in the order of their names, each shown for a while, as a camera would see it."""

    def __init__(self, folder: Path, photo_seconds: float, hertz: float, loop: bool) -> None:
        self._folder, self._loop = folder, loop
        self._paths: list[Path] = []
        self._frames_each = max(1, round(photo_seconds * hertz))
        self._left = 0
        self._pace = Pace(1 / hertz)
        self._photo: Pixels | None = None
        self._rounds = 0

    def read(self) -> Frame | None:
        if self._left == 0:
            self._photo = self._next_photo()
            self._left = self._frames_each
        if self._photo is None:
            return None
        self._left -= 1
        self._pace.wait()
        return Frame(self._photo, time.monotonic_ns())

    def _next_photo(self) -> Pixels | None:
        refused = ""
        while True:
            if not self._paths:
                if self._rounds and not self._loop:
                    return None
                self._rounds += 1
                self._paths = list_photos(self._folder)
                if refused:
                    raise SourceError(f"no photo in {self._folder} can be read: {refused}")
            path = self._paths.pop(0)
            try:
                photo = read_photo(path)
            except PhotoError as error:
                refused = f"{path.name} {error}"
                continue
            self.view = path.name
            return photo


class OnePhoto(FolderSource):
    """A single photo, shown for ever."""

    def __init__(self, path: Path, hertz: float) -> None:
        super().__init__(path.parent, 1.0, hertz, loop=True)
        self._file = path

    def _next_photo(self) -> Pixels:
        try:
            return read_photo(self._file)
        except PhotoError as error:
            raise SourceError(f"{self._file} {error}") from None


class VideoSource(Source):
    """A video file at its own speed, or an .npy file of decoded frames (count, height, width, 3), uint8."""

    def __init__(self, path: Path, hertz: float, loop: bool) -> None:
        self._path, self._loop = path, loop
        self._decoded: DecodedFrames | None = None
        self._index = 0
        self._capture: cv2.VideoCapture | None = None
        if path.suffix == ".npy":
            try:
                self._decoded = DecodedFrames(path)
            except (OSError, ValueError) as error:
                raise SourceError(f"{path} can't be played: {error}") from error
            self._pace = Pace(1 / hertz)
            return
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(f"{path} is no video that can be read; MP4, AVI, MKV and WebM can")
        native = self._capture.get(cv2.CAP_PROP_FPS)
        self._pace = Pace(1 / (native if 1 <= native <= 240 else hertz))

    def read(self) -> Frame | None:
        pixels = self._next()
        if pixels is None:
            return None
        self._pace.wait()
        return Frame(pixels, time.monotonic_ns())

    def _next(self) -> Pixels | None:
        if self._decoded is not None:
            if self._index == len(self._decoded):
                if not self._loop:
                    return None
                self._index = 0
            self._index += 1
            try:
                return self._decoded[self._index - 1]
            except (OSError, ValueError) as error:
                raise SourceError(f"{self._path} can't be played: {error}") from error
        assert self._capture is not None
        read, decoded = self._capture.read()
        if not read and self._loop and self._index > 0:
            self._capture.release()  # seeking back is unreliable in some containers; opening again is not
            self._capture.open(str(self._path), cv2.CAP_FFMPEG)
            read, decoded = self._capture.read()
        if not read:
            if self._index == 0:
                raise SourceError(f"{self._path} holds no picture that can be decoded")
            return None
        self._index += 1
        return decoded  # type: ignore[return-value]

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        if self._decoded is not None:
            self._decoded.close()


def list_photos(folder: Path) -> list[Path]:
    """The photos in `folder` by name. Raises SourceError where there are none."""
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; give one with photos in it")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise SourceError(f"there is no photo in {folder}; put JPEG or PNG files there")
    return photos
