"""Where frames come from: a camera, a video file, a folder of photos, a stream, the built-in scene.

Used only in the reader process: a source may hang or crash, and takes nobody with it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from services.capture.decoded import DecodedFrames
from services.capture.location import without_login
from services.capture.scene import Scene

Pixels = NDArray[np.uint8]
"""A frame: BGR, (height, width, 3)."""

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
STREAM_SCHEMES = {"http", "https", "rtsp", "rtmp", "udp", "tcp"}
STREAM_TIMEOUT_MS = 1500
MAX_PHOTO_PIXELS = 100_000_000


class SourceError(Exception):
    """The source can't deliver; one sentence, what is wrong and what to do."""


class Frame(NamedTuple):
    """Pixels and the moment of their capture, CLOCK_MONOTONIC in ns."""

    pixels: Pixels
    captured_ns: int


class Source(ABC):
    """Delivers frames one after another, each when it is due."""

    live = False
    """Whether the frames come from the world, so that the same frame again and again is a fault."""
    view = ""
    """What the frames show now, where a source shows one thing after another: the photo's name."""

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame, waiting until it is due; None at the end. Raises SourceError."""

    def close(self) -> None:  # noqa: B027  (most sources hold nothing)
        """Release the device or file."""


class Pace:
    """Lets a source that could run as fast as the processor run at its own speed."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._due = time.monotonic()

    def wait(self) -> None:
        """Until the next tick. After a long pause it goes on from now, and doesn't catch up."""
        now = time.monotonic()
        if self._due > now:
            time.sleep(self._due - now)
        self._due = max(self._due + self.period_s, now)


class SceneSource(Source):
    """`scene:` or `scene:SEED`."""

    def __init__(self, seed: int, width: int, height: int, hertz: float) -> None:
        self._scene = Scene(width, height, seed)
        self._pace = Pace(1 / hertz)
        self._index = 0

    def read(self) -> Frame:
        pixels = self._scene.frame(self._index)
        self._index += 1
        self._pace.wait()
        return Frame(pixels, time.monotonic_ns())


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
        unreadable = 0
        while True:
            if not self._paths:
                if self._rounds and not self._loop:
                    return None
                self._rounds += 1
                self._paths = list_photos(self._folder)
                if unreadable:
                    raise SourceError(f"no photo in {self._folder} can be read; put JPEG or PNG files there")
            path = self._paths.pop(0)
            photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if photo is not None:
                self.view = path.name
                return photo  # type: ignore[return-value]
            unreadable += 1


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


class DeviceSource(Source):
    """A camera or a stream, through OpenCV; its own clock paces it."""

    live = True

    def __init__(self, capture: cv2.VideoCapture, what: str) -> None:
        self._capture, self._what = capture, what

    def read(self) -> Frame:
        if not self._capture.grab():
            raise SourceError(f"{self._what} stopped delivering; it is tried again")
        captured_ns = time.monotonic_ns()
        read, pixels = self._capture.retrieve()
        if not read or pixels is None:
            raise SourceError(f"{self._what} delivered something that is no picture; it is tried again")
        return Frame(pixels, captured_ns)  # type: ignore[arg-type]

    def close(self) -> None:
        self._capture.release()


def open_source(spec: str, settings: dict[str, Any]) -> Source:
    """The source that `spec` names; `settings` are the section `capture`. Raises SourceError."""
    width, height, hertz = settings["width"], settings["height"], settings["hertz"]
    kind, _, rest = spec.partition(":")
    if kind == "scene":
        if rest and not rest.isdigit():
            raise SourceError(f"{spec}: the scene takes a number as its seed, as in scene:7")
        return SceneSource(int(rest or 0), width, height, hertz)
    if kind == "camera":
        return _open_camera(rest, width, height, hertz)
    if kind in STREAM_SCHEMES and "//" in spec:
        return _open_stream(spec)
    if kind == "folder":
        folder = Path(rest).expanduser()
        list_photos(folder)
        return FolderSource(folder, settings["photo_seconds"], hertz, settings["loop"])
    path = Path(rest if kind == "file" else spec).expanduser()
    if str(path).startswith("/dev/video"):
        return _open_camera(str(path), width, height, hertz)
    if path.is_dir():
        return open_source(f"folder:{path}", settings)
    if not path.exists():
        raise SourceError(
            f"there is no file {path}; a source is camera:0, a video file, folder:PATH, a URL or scene:"
        )
    if path.suffix.lower() in PHOTO_SUFFIXES:
        return _OnePhoto(path, settings)
    return VideoSource(path, hertz, settings["loop"])


class _OnePhoto(FolderSource):
    """A single photo, shown for ever."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        super().__init__(path.parent, settings["photo_seconds"], settings["hertz"], loop=True)
        self._file = path

    def _next_photo(self) -> Pixels:
        photo = cv2.imread(str(self._file), cv2.IMREAD_COLOR)
        if photo is None:
            raise SourceError(f"{self._file} is no picture that can be read; JPEG and PNG can")
        return photo  # type: ignore[return-value]


def list_photos(folder: Path) -> list[Path]:
    """The photos in `folder` by name. Raises SourceError where there are none."""
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; give one with photos in it")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise SourceError(f"there is no photo in {folder}; put JPEG or PNG files there")
    return photos


def _open_camera(which: str, width: int, height: int, hertz: float) -> DeviceSource:
    device = Path(f"/dev/video{which}" if which.isdigit() else which)
    if not device.exists():
        others = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise SourceError(f"there is no camera {device} (cameras here: {others}); plug it in")
    capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceError(
            f"the camera {device} can't be opened; another program may hold it, or this user may not be in "
            f"the group video"
        )
    # Motion JPEG first: uncompressed 640×480 at 30/s is more than many cameras can send over USB 2.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    capture.set(cv2.CAP_PROP_FPS, hertz)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return DeviceSource(capture, f"the camera {device}")


def _open_stream(url: str) -> DeviceSource:
    capture = cv2.VideoCapture(
        url,
        cv2.CAP_FFMPEG,
        [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            STREAM_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            STREAM_TIMEOUT_MS,
        ],
    )
    if not capture.isOpened():
        raise SourceError(
            f"the stream {without_login(url)} can't be opened; is its server up, and the address right?"
        )
    return DeviceSource(capture, f"the stream {without_login(url)}")
