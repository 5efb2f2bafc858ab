"""Frames from a video file, or from an array of decoded frames."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from services.capture.npy_frames import NpyFrames
from services.capture.reader_messages import ReaderSettings
from services.capture.source import Frame, Pace, Pixels, Source, SourceError

_SENSIBLE_HERTZ = (1, 240)


class VideoSource(Source):
    """A video file at its own speed."""

    def __init__(self, path: Path, settings: ReaderSettings) -> None:
        """Open the file. Raises SourceError."""
        self._path, self._loop = path, settings.loop
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(f"{path} is no video that can be read; MP4, AVI, MKV and WebM can.")
        hertz = self._capture.get(cv2.CAP_PROP_FPS)
        least, most = _SENSIBLE_HERTZ
        self._pace = Pace(1 / (hertz if least <= hertz <= most else settings.hertz))
        self._has_frames = False

    def read(self) -> Frame | None:
        pixels = self._next()
        if pixels is None:
            return None
        self._pace.wait()
        return Frame(pixels, time.monotonic_ns())

    def _next(self) -> Pixels | None:
        read, decoded = self._capture.read()
        if not read and self._loop and self._has_frames:
            self._capture.release()  # seeking back is unreliable in some containers; opening again is not
            self._capture.open(str(self._path), cv2.CAP_FFMPEG)
            read, decoded = self._capture.read()
        if not read:
            if not self._has_frames:
                raise SourceError(f"{self._path} holds no picture that can be decoded.")
            return None
        self._has_frames = True
        return decoded  # type: ignore[return-value]

    def close(self) -> None:
        self._capture.release()


class NpySource(Source):
    """An `.npy` file of uint8 (count, height, width, 3), BGR."""

    def __init__(self, path: Path, settings: ReaderSettings) -> None:
        """Open the file. Raises SourceError."""
        self._path, self._loop = path, settings.loop
        self._pace = Pace(1 / settings.hertz)
        self._index = 0
        try:
            self._frames = NpyFrames(path)
        except (OSError, ValueError) as error:
            raise SourceError(f"{path} can't be played: {error}.") from error

    def read(self) -> Frame | None:
        if self._index == len(self._frames):
            if not self._loop:
                return None
            self._index = 0
        try:
            pixels = self._frames[self._index]
        except (OSError, ValueError) as error:
            raise SourceError(f"{self._path} can't be played: {error}.") from error
        self._index += 1
        self._pace.wait()
        return Frame(pixels, time.monotonic_ns())

    def close(self) -> None:
        self._frames.close()
