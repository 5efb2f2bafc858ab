"""Frames that were decoded beforehand, in an .npy file: for measuring, and for replaying exactly."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.capture.source import MAX_FRAME_PIXELS


class NpyFrames:
    """An .npy file of uint8 (count, height, width, 3), read a frame at a time.

    Not mapped into memory: the whole file would count as this process's. Raises OSError, and ValueError for a
    file that holds anything else, or less than it says.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            version = np.lib.format.read_magic(self._file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise ValueError(f"version {version} of the format is not known")
            shape, in_columns, dtype = _header(read_header, self._file)
            if len(shape) != 4 or not all(shape) or shape[3] != 3 or dtype != np.uint8 or in_columns:
                raise ValueError(f"it holds {dtype} {shape}; wanted is uint8 (count, height, width, 3)")
            if shape[1] * shape[2] > MAX_FRAME_PIXELS:
                most = MAX_FRAME_PIXELS // 1_000_000
                raise ValueError(f"its frames have {shape[2]}×{shape[1]} pixels, more than {most} million")
            if math.prod(shape) > os.fstat(self._file.fileno()).st_size - self._file.tell():
                raise ValueError(f"it says that it holds {shape[0]} frames and ends before")
        except BaseException:
            self._file.close()
            raise
        self._shape = shape
        self._first = self._file.tell()

    def __len__(self) -> int:
        return int(self._shape[0])

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, BGR (height, width, 3). Raises ValueError where the file ends within it."""
        pixels = np.empty(self._shape[1:], np.uint8)
        self._file.seek(self._first + index * pixels.nbytes)
        if self._file.readinto(pixels.data) != pixels.nbytes:
            raise ValueError(f"it ends within frame {index}")
        return pixels

    def close(self) -> None:
        self._file.close()


def _header(read: Callable[[BinaryIO], Any], file: BinaryIO) -> Any:
    """What `read` finds. Raises ValueError, also where it lets its parser's errors through."""
    try:
        return read(file)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"its header can't be read ({type(error).__name__})") from error
