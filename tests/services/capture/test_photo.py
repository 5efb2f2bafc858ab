"""Picture files as people bring them show what a person sees, or are named with the remedy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.capture.photo import MAX_PIXELS, PhotoError, decode_photo, read_photo
from services.capture.photo_sources import FolderSource
from services.capture.picture_header import picture_size
from services.capture.reader_messages import ReaderSettings
from services.capture.source import DamagedFrame, Pixels, SourceError
from services.config import Capture

PICTURES = Path(__file__).parent / "pictures"
HEIGHT, WIDTH = 40, 60
SETTINGS = ReaderSettings.of(Capture(photo_seconds=0.01, hertz=100))


def drawn() -> NDArray[np.uint8]:
    """An L, 255 where there is ink: no turn or mirror image of it is the same."""
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    ink[6:34, 10:16] = ink[28:34, 10:40] = 255
    return ink


def encoded(pixels: NDArray[np.integer[Any]], suffix: str = ".png") -> bytes:
    done, content = cv2.imencode(suffix, pixels)
    assert done
    return content.tobytes()


def shows(pixels: Pixels, ink: NDArray[np.uint8], *, light: bool = False) -> bool:
    """Whether the picture is BGR with dark ink on light paper there, or light ink on dark ground."""
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    if pixels.shape != (*ink.shape, 3):
        return False
    found = pixels.max(axis=2) if light else 255 - pixels.min(axis=2)
    return bool((np.abs(found.astype(int) - ink) < 40).all())


# --- kinds of picture


@pytest.mark.parametrize("file", sorted(path.name for path in PICTURES.iterdir()))
def test_every_kind_of_picture_shows_the_same(file: str) -> None:
    if file.endswith(".avif") and not cv2.haveImageReader(str(PICTURES / file)):
        pytest.skip("this OpenCV reads no AVIF")
    assert shows(read_photo(PICTURES / file), drawn())
    assert picture_size((PICTURES / file).read_bytes()) == (WIDTH, HEIGHT)


def transparent(colour: int, alpha: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    return np.dstack([np.full((*alpha.shape, 3), colour, alpha.dtype), alpha])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_black_ink_on_a_transparent_ground_lies_on_white(suffix: str) -> None:
    assert shows(decode_photo(encoded(transparent(0, drawn()), suffix)), drawn())


def test_white_ink_on_a_transparent_ground_lies_on_black() -> None:
    assert shows(decode_photo(encoded(transparent(255, drawn()))), drawn(), light=True)


def test_what_is_cut_out_round_a_sheet_of_paper_looks_like_the_paper() -> None:
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:4] = alpha[:, :4] = 0
    pixels = np.dstack([255 - drawn()] * 3 + [alpha])
    pixels[alpha == 0] = 0
    assert shows(decode_photo(encoded(pixels)), drawn())


def test_an_alpha_channel_that_nobody_filled_hides_nothing() -> None:
    pixels = np.dstack([255 - drawn()] * 3 + [np.zeros_like(drawn())])
    assert shows(decode_photo(encoded(pixels)), drawn())


def test_half_transparent_ink_is_half_as_dark() -> None:
    pixels = decode_photo(encoded(transparent(0, drawn() // 2)))
    assert abs(int(pixels[20, 12, 0]) - 128) < 3
    assert pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_that_are_filled_only_in_part(bits: int, suffix: str) -> None:
    deep = ((255 - drawn()).astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    assert shows(decode_photo(encoded(deep, suffix)), drawn())


def test_sixteen_bits_with_transparency() -> None:
    assert shows(decode_photo(encoded(transparent(0, drawn().astype(np.uint16) * 257))), drawn())


# --- the way up


def exif(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)


def jpeg_turned(picture: NDArray[np.uint8], orientation: int) -> bytes:
    content, data = encoded(picture, ".jpg"), b"Exif\0\0" + exif(orientation)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + content[2:]


def png_turned(picture: NDArray[np.uint8], orientation: int) -> bytes:
    content, chunk = encoded(picture), b"eXIf" + exif(orientation)
    held = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content[:33] + held + content[33:]


STORED = {
    1: lambda ink: ink,
    2: lambda ink: ink[:, ::-1],
    3: lambda ink: ink[::-1, ::-1],
    4: lambda ink: ink[::-1],
    5: lambda ink: ink.T,
    6: lambda ink: np.rot90(ink),
    7: lambda ink: ink[::-1, ::-1].T,
    8: lambda ink: np.rot90(ink, -1),
}
"""How the camera stored the upright picture under each orientation."""


@pytest.mark.parametrize("turned", [jpeg_turned, png_turned])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(turned: object, orientation: int) -> None:
    stored = np.ascontiguousarray(255 - STORED[orientation](drawn()))
    assert callable(turned)
    assert shows(decode_photo(turned(stored, orientation)), drawn())


@pytest.mark.parametrize("turned", [jpeg_turned, png_turned])
@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_makes_no_sense_is_none(turned: object, orientation: int) -> None:
    assert callable(turned)
    assert shows(decode_photo(turned(255 - drawn(), orientation)), drawn())


# --- what is none


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "RAW"),
        (b"II*\0\x10\0\0\0CR\2\0", "RAW"),
        (b"FUJIFILMCCD-RAW 0201", "RAW"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\n<!DOCTYPE html><html><head>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video"),
        (b"my holiday", "no picture"),
        (b"\xff\xd8\xff\xe0", "no picture"),
        (b"\x89PNG\r\n\x1a\n", "no picture"),
    ],
)
def test_what_can_not_be_decoded_is_named_with_the_remedy(content: bytes, says: str) -> None:
    with pytest.raises(PhotoError, match=says):
        decode_photo(content)


def test_a_raw_picture_that_is_tiff_inside_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.NEF").write_bytes(encoded(drawn(), ".tiff"))
    with pytest.raises(PhotoError, match="RAW"):
        read_photo(tmp_path / "a.NEF")


# --- sizes


def claims(content: bytes, size: tuple[int, int]) -> bytes:
    """A JPEG or PNG whose header says another size."""
    changed = bytearray(content)
    if content.startswith(b"\x89PNG"):
        changed[16:24] = struct.pack(">II", *size)
        changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    else:
        at = next(at for at in range(2, len(content)) if content[at : at + 2] in (b"\xff\xc0", b"\xff\xc2"))
        changed[at + 5 : at + 9] = struct.pack(">HH", size[1], size[0])
    return bytes(changed)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("size", [(65500, 65500), (30000, 30000)])
def test_a_small_file_that_claims_a_huge_picture_is_not_decoded(suffix: str, size: tuple[int, int]) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(PhotoError, match=f"{size[0]}×{size[1]} pixels"):
        decode_photo(claims(encoded(drawn(), suffix), size))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff", ".gif", ".pgm", ".jp2"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (257, 130)])
def test_the_header_says_the_size(suffix: str, size: tuple[int, int]) -> None:
    if suffix == ".jp2" and min(size) < 32:
        pytest.skip("the encoder wants more")
    picture = np.full((*size[::-1], 3), 200, np.uint8)
    content = encoded(picture[..., 0] if suffix == ".pgm" else picture, suffix)
    assert picture_size(content) == size
    assert decode_photo(content).shape == (*size[::-1], 3)


@pytest.mark.parametrize("file", sorted(path.name for path in PICTURES.iterdir()))
def test_broken_files_are_decoded_or_refused(file: str) -> None:
    """Cut off or with flipped bits, a file raises nothing but PhotoError."""
    content, rng = (PICTURES / file).read_bytes(), np.random.default_rng(5)
    for number in range(30):
        case = bytearray(content[: rng.integers(1, len(content))] if number % 3 == 0 else content)
        for at in rng.integers(0, len(case), number % 3 * 2):
            case[at] ^= 1 << int(rng.integers(0, 8))
        try:
            assert decode_photo(bytes(case)).ndim == 3
        except PhotoError:
            continue


# --- a folder of them


def test_a_folder_goes_on_to_the_next_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(claims(encoded(drawn(), ".jpg"), (65500, 65500)))
    (tmp_path / "b.png").write_bytes(encoded(transparent(0, drawn())))
    source = FolderSource(tmp_path, SETTINGS)
    with pytest.raises(DamagedFrame, match=r"a\.jpg has 65500×65500 pixels"):
        source.read()
    assert source.remark.startswith("A photo is left out: a.jpg has 65500×65500 pixels")
    frame = source.read()
    assert frame is not None
    assert shows(frame.pixels, drawn())
    assert source.view == "b.png"


def test_a_folder_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    source = FolderSource(tmp_path, SETTINGS)
    with pytest.raises(DamagedFrame, match=r"a\.jpg is a HEIC picture"):
        source.read()
    with pytest.raises(SourceError, match=r"a\.jpg is a HEIC picture"):
        source.read()
