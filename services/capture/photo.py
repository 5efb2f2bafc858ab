"""Decode picture files as people bring them: transparent, 16-bit, CMYK, turned by EXIF, or no picture."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.capture.picture_header import Size, foreign_format, picture_size
from services.capture.source import Pixels

MAX_FILE_BYTES = 256 << 20
MAX_PIXELS = 128_000_000
"""Phones take up to 108 million. Decoded, this is 384 MB."""

_RAW_SUFFIXES = frozenset({".dng", ".nef", ".arw", ".pef", ".srw"})
"""Of RAW pictures that are TIFF by their content: what OpenCV finds in them is a thumbnail, if anything."""
_JPEG = b"\xff\xd8"
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
_ORIENTATION_TAG = 0x112
_UNREADABLE = "is no picture that can be read, or is damaged"


class PhotoError(Exception):
    """The file holds no picture that can be used. The message follows the file's name in a sentence."""


def read_photo(path: Path, max_pixels: int = MAX_PIXELS, enough: Size | None = None) -> Pixels:
    """The picture in the file at `path`, BGR (height, width, 3), the way up that its EXIF data say.

    Transparent parts become white, or black behind light ink. Of an animation it is the first picture. One
    that says it has more than `max_pixels` is not decoded. Where a picture that just covers (width, height)
    is `enough`, a larger JPEG is decoded at a half, a quarter or an eighth of its size. Raises PhotoError.
    """
    try:
        if path.is_dir():
            raise PhotoError("holds no photo; put JPEG or PNG files there")
        if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            raise PhotoError(f"has more than {MAX_FILE_BYTES >> 20} MB, too much for a picture")
        content = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"can't be opened: {error.strerror}") from None
    if path.suffix.lower() in _RAW_SUFFIXES:
        raise PhotoError("is a camera's RAW picture; export it as JPEG, or set the camera to JPEG")
    return decode_photo(content, max_pixels, enough)


def decode_photo(content: bytes, max_pixels: int = MAX_PIXELS, enough: Size | None = None) -> Pixels:
    """The picture that a file's `content` holds, as `read_photo` gives it. Raises PhotoError."""
    if not content:
        raise PhotoError("is empty")
    size = picture_size(content)
    if size is None:
        raise PhotoError(foreign_format(content) or _UNREADABLE)
    if size[0] * size[1] > max_pixels:
        raise PhotoError(
            f"has {size[0]}×{size[1]} pixels, more than {max_pixels // 1_000_000} million; make it smaller"
        )
    encoded = np.frombuffer(content, np.uint8)
    try:
        if content.startswith(_JPEG):  # never transparent or deep; OpenCV turns it, and makes CMYK BGR
            pixels: NDArray[Any] | None = cv2.imdecode(encoded, reduced_colour(size, enough))
            exif = None
        else:
            pixels, kinds, metadata = cv2.imdecodeWithMetadata(encoded, cv2.IMREAD_UNCHANGED)
            exif = next(
                (
                    bytes(part)
                    for kind, part in zip(kinds, metadata, strict=True)
                    if kind == cv2.IMAGE_METADATA_EXIF
                ),
                None,
            )
        if pixels is None:
            raise PhotoError(foreign_format(content) or _UNREADABLE)
        return np.ascontiguousarray(_upright(_on_ground(_eight_bits(pixels)), exif_orientation(exif or b"")))
    except cv2.error as error:
        raise PhotoError(f"can't be decoded: {error.err or error}") from None
    except MemoryError:
        raise PhotoError("needs more memory than there is; make it smaller") from None


def reduced_colour(size: Size, enough: Size | None) -> int:
    """OpenCV's flag for decoding a JPEG of `size` in colour, as small as covers (width, height) `enough`.

    Covers it both as it lies and turned by a quarter: which way up it is isn't known yet.
    """
    if enough is None or not all(size):
        return cv2.IMREAD_COLOR
    as_it_lies = min(enough[0] / size[0], enough[1] / size[1])
    turned = min(enough[0] / size[1], enough[1] / size[0])
    times = 1 / max(as_it_lies, turned)
    return next((flag for least, flag in _REDUCED if times >= least), cv2.IMREAD_COLOR)


def _eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Values from 0 to 255. Deeper ones are taken to fill 8, 10, 12, 14 or 16 bits, floats the range 0…1."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.uint16:
        most = int((pixels[..., :3] if pixels.ndim == 3 else pixels).max())
        full: float = next((1 << bits) - 1 for bits in (8, 10, 12, 14, 16) if most < 1 << bits)
    else:
        pixels = np.maximum(np.nan_to_num(pixels.astype(np.float32), posinf=0.0), 0.0)
        full = max(1, float(pixels.max()))
    scaled = np.asarray(cv2.convertScaleAbs(pixels, alpha=255 / full), np.uint8)
    if pixels.dtype == np.uint16 and pixels.ndim == 3 and pixels.shape[2] == 4:
        scaled[..., 3] = pixels[..., 3] >> 8
    return scaled


def _on_ground(pixels: NDArray[np.uint8]) -> Pixels:
    """BGR on white or black ground. Where most is transparent, that is the paper and contrasts with the ink.

    Where less is, it lies around the paper, and looks like it.
    """
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    colours, alpha = np.ascontiguousarray(pixels[..., :3]), pixels[..., 3:]
    if pixels.shape[2] == 3 or alpha.min() == 255 or alpha.max() == 0:
        return colours
    visible = (alpha > alpha.max() // 2).astype(np.uint8)
    is_light = cv2.mean(cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY), mask=visible)[0] > 127
    is_paper = bool(visible.mean() > 0.5)
    opacity = cv2.merge([alpha] * 3)
    drawn = cv2.multiply(colours, opacity, scale=1 / 255)
    return np.asarray(cv2.add(drawn, cv2.bitwise_not(opacity)) if is_light == is_paper else drawn, np.uint8)


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in EXIF data; 1 where there is none that makes sense."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(min(count, 512)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turned and mirrored as EXIF counts it: 5 to 8 lie on their side, 2, 4, 5 and 7 are mirrored."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
