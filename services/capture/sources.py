"""Where frames come from, by name: a camera, a file, a folder of photos, a stream, the built-in scene.

Used only in the reader process: a source may hang or crash, and takes nobody with it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from services.capture import camera_discovery
from services.capture.files import FolderSource, OnePhoto, VideoSource, list_photos
from services.capture.picamera import PiCamera
from services.capture.picture_header import PHOTO_SUFFIXES
from services.capture.scene import Scene
from services.capture.source import Frame, Pace, Source, SourceError
from services.capture.stream import STREAM_SCHEMES, open_stream
from services.capture.v4l2_camera import Camera


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


def open_source(spec: str, settings: dict[str, Any]) -> Source:
    """The source that `spec` names; `settings` are the section `capture`. Raises SourceError.

    Of the cameras it takes the one that is named: the service has chosen (`camera_discovery.choose`).
    """
    hertz = settings["hertz"]
    kind, _, rest = spec.partition(":")
    if kind == "scene":
        if rest and not rest.isdigit():
            raise SourceError(f"{spec}: the scene takes a number as its seed, as in scene:7")
        return SceneSource(int(rest or 0), settings["width"], settings["height"], hertz)
    if kind == camera_discovery.PICAMERA:
        return PiCamera(int(rest or 0), settings)
    if kind in STREAM_SCHEMES and "//" in spec:
        return open_stream(spec, hertz)
    if kind == "folder":
        folder = Path(rest).expanduser()
        list_photos(folder)
        return FolderSource(folder, settings["photo_seconds"], hertz, settings["loop"])
    if (device := camera_discovery.device_of(spec)) is not None:
        return Camera(device, settings)
    path = Path(rest if kind == "file" else spec).expanduser()
    if path.is_dir():
        return open_source(f"folder:{path}", settings)
    if path.is_fifo():
        return open_stream(str(path), hertz)
    if not path.exists():
        raise SourceError(
            f"there is no file {path}; a source is camera:, a video file, folder:PATH, a URL or scene:"
        )
    if path.suffix.lower() in PHOTO_SUFFIXES:
        return OnePhoto(path, hertz)
    return VideoSource(path, hertz, settings["loop"])
