"""Frames from photos: a folder of them, or one."""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path

from messages.text import file_name
from services.capture.photo import PhotoError, read_photo
from services.capture.picture_header import PHOTO_SUFFIXES
from services.capture.reader_messages import ReaderSettings
from services.capture.source import MAX_FRAME_PIXELS, DamagedFrame, Frame, Pace, Pixels, Source, SourceError

_BROKE = "can't be decoded: the reader ended, or took too long, at it"


class _Photos(Source):
    """Photos, each shown for a while as a camera would see it."""

    def __init__(self, settings: ReaderSettings) -> None:
        self._enough = (settings.width, settings.height)
        self._frames_each = max(1, round(settings.photo_seconds * settings.hertz))
        self._frames_left = 0
        self._photo: Pixels | None = None
        self._pace = Pace(1 / settings.hertz)

    def read(self) -> Frame | None:
        if self._frames_left == 0:
            self._photo = self._next_photo()
            self._frames_left = self._frames_each
        if self._photo is None:
            return None
        self._frames_left -= 1
        self._pace.wait()
        return Frame(self._photo, time.monotonic_ns())

    @abstractmethod
    def _next_photo(self) -> Pixels | None:
        """The next photo, None at the end. Raises DamagedFrame for one that can't be shown, SourceError."""

    def _decode(self, path: Path) -> Pixels:
        """The photo in the file. Raises PhotoError, whatever the file holds."""
        if self.on_decoding is not None:
            self.on_decoding(path.name)
        try:
            return read_photo(path, MAX_FRAME_PIXELS, self._enough)
        except PhotoError:
            raise
        except Exception as error:
            raise PhotoError(f"can't be decoded: {type(error).__name__}: {error}") from error


class OnePhoto(_Photos):
    """A single photo, shown for ever."""

    def __init__(self, path: Path, settings: ReaderSettings, left_out: tuple[str, ...] = ()) -> None:
        """Raises SourceError where an earlier reader broke at it: it stands in `left_out`."""
        super().__init__(settings)
        self._path = path
        if path.name in left_out:
            raise SourceError(f"{path} {_BROKE}.")

    def _next_photo(self) -> Pixels:
        try:
            return self._decode(self._path)
        except PhotoError as error:
            raise SourceError(f"{self._path} {error}.") from error


class FolderSource(_Photos):
    """The photos of a folder in the order of their names."""

    def __init__(self, folder: Path, settings: ReaderSettings, left_out: tuple[str, ...] = ()) -> None:
        """`left_out` are names of photos at which earlier readers broke; it begins after the last of them.

        Raises SourceError where the folder holds no photo.
        """
        super().__init__(settings)
        self._folder, self._loop = folder, settings.loop
        self._broke_at = frozenset(left_out)
        self._reasons = {name: f"{file_name(name)} {_BROKE}" for name in left_out}
        self._waiting = [path for path in list_photos(folder) if not left_out or path.name > left_out[-1]]
        self._shown_in_round = bool(left_out)
        self._update_remark()

    def _next_photo(self) -> Pixels | None:
        path = self._next_path()
        if path is None:
            return None
        try:
            photo = self._decode(path)
        except PhotoError as error:
            self._reasons[path.name] = f"{file_name(path)} {error}"
            self._update_remark()
            raise DamagedFrame(self._reasons[path.name]) from error
        self._shown_in_round = True
        self._reasons.pop(path.name, None)
        self._update_remark()
        self.view = file_name(path)
        return photo

    def _next_path(self) -> Path | None:
        while True:
            if not self._waiting:
                if not self._shown_in_round:
                    raise SourceError(
                        f"No photo in {self._folder} can be read: {next(iter(self._reasons.values()))}."
                    )
                if not self._loop:
                    return None
                self._shown_in_round = False
                self._waiting = list_photos(self._folder)
            path = self._waiting.pop(0)
            if path.name not in self._broke_at:
                return path

    def _update_remark(self) -> None:
        *others, newest = self._reasons.values() or ("",)
        more = f"; {len(others)} more are left out" if others else ""
        self.remark = f"A photo is left out: {newest}{more}." if newest else ""


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()


def list_photos(folder: Path) -> list[Path]:
    """The photos in `folder` by name. Raises SourceError where there are none."""
    if not folder.is_dir():
        raise SourceError(f"There is no folder {folder}; give one with photos in it.")
    try:
        photos = sorted(path for path in folder.iterdir() if _is_photo(path))
    except OSError as error:
        raise SourceError(f"The folder {folder} can't be read ({error.strerror}).") from error
    if not photos:
        raise SourceError(f"There is no photo in {folder}; put JPEG or PNG files there.")
    return photos
