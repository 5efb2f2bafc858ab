"""Opens a source by its name: a camera, a file, a folder of photos, a stream, the built-in scene.

Used only in the reader process: a source may hang or crash, and takes nobody with it.
"""

from __future__ import annotations

import time
from pathlib import Path

from services.capture import camera_discovery
from services.capture.photo_sources import FolderSource, OnePhoto
from services.capture.picamera import PiCamera
from services.capture.picture_header import PHOTO_SUFFIXES
from services.capture.reader_messages import ReaderSettings
from services.capture.scene import Scene
from services.capture.source import Frame, Pace, Source, SourceError
from services.capture.stream import STREAM_SCHEMES, open_stream
from services.capture.v4l2_camera import Camera
from services.capture.video_sources import NpySource, VideoSource


class SceneSource(Source):
    """`scene:` or `scene:SEED`."""

    def __init__(self, seed: int, settings: ReaderSettings) -> None:
        self._scene = Scene(settings.width, settings.height, seed)
        self._pace = Pace(1 / settings.hertz)
        self._index = 0

    def read(self) -> Frame:
        pixels = self._scene.frame(self._index)
        self._index += 1
        self._pace.wait()
        return Frame(pixels, time.monotonic_ns())


def open_source(spec: str, settings: ReaderSettings, left_out: tuple[str, ...] = ()) -> Source:
    """The source that `spec` names. `left_out` are photos at which earlier readers broke. Raises SourceError.

    Of the cameras it takes the one that is named: the service has chosen (`camera_discovery.choose`).
    """
    kind, _, rest = spec.partition(":")
    if kind == "scene":
        if rest and not rest.isdecimal():
            raise SourceError(f"{spec}: the scene takes a number as its seed, as in scene:7.")
        return SceneSource(int(rest or 0), settings)
    if kind == camera_discovery.PICAMERA:
        return PiCamera(int(rest or 0), settings)
    if kind in STREAM_SCHEMES and "//" in spec:
        return open_stream(spec, settings)
    if kind == "folder":
        return FolderSource(Path(rest).expanduser(), settings, left_out)
    if (device := camera_discovery.device_of(spec)) is not None:
        return Camera(device, settings)
    return _open_path(Path(rest if kind == "file" else spec).expanduser(), settings, left_out)


def _open_path(path: Path, settings: ReaderSettings, left_out: tuple[str, ...]) -> Source:
    if path.is_dir():
        return FolderSource(path, settings, left_out)
    if path.is_fifo():
        return open_stream(str(path), settings)
    if not path.exists():
        raise SourceError(
            f"There is no file {path}; a source is camera:, a video file, folder:PATH, a URL or scene:"
        )
    if path.suffix.lower() in PHOTO_SUFFIXES:
        return OnePhoto(path, settings, left_out)
    if path.suffix == ".npy":
        return NpySource(path, settings)
    return VideoSource(path, settings)
