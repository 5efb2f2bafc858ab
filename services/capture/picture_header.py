"""What a picture file says of itself before anything of it is decoded: its format, its width and height."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

Size = tuple[int, int]
"""Width and height in pixels."""

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".pgm", ".ppm"}
)
"""Of files that are looked for in a folder."""
FOREIGN_SUFFIXES = frozenset(
    {".heic", ".heif", ".jxl", ".dng", ".nef", ".arw", ".cr2", ".cr3", ".raf", ".orf", ".rw2"}
)
"""Of pictures that can't be decoded here: who has them in a folder of photos is told so."""
_SEARCHED = 1 << 20
"""Bytes at the beginning of a box-structured file in which its size stands."""


def picture_size(content: bytes) -> Size | None:
    """Width and height that the header of a JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000 or PNM states.

    None for any other file, and for a header that breaks off.
    """
    for signature, size in _FORMATS:
        if re.match(signature, content, re.DOTALL):
            try:
                return size(content)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def foreign_format(content: bytes) -> str | None:
    """What to say of a file of a well-known kind that is no picture OpenCV can read; None for any other.

    A part of a sentence that follows the file's name: what the file is, and the remedy.
    """
    head = content[:4096]
    return next((said for signature, said in _FOREIGN if re.match(signature, head, re.DOTALL)), None)


def _jpeg(content: bytes) -> Size | None:
    at = 2
    while at + 9 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame header
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _png(content: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _gif(content: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _webp(content: bytes) -> Size | None:
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bmp(content: bytes) -> Size | None:
    if int.from_bytes(content[14:18], "little") == 12:
        width, height = struct.unpack_from("<HH", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    return abs(width), abs(height)


def _tiff(content: bytes) -> Size | None:
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, directory)
    lengths: dict[int, int] = {}
    for entry in range(min(count, 512)):
        tag, kind, _, value = struct.unpack_from(f"{order}HHI4s", content, directory + 2 + 12 * entry)
        if tag in (256, 257):  # ImageWidth, ImageLength: short or long
            lengths[tag] = (
                struct.unpack(f"{order}H", value[:2])[0]
                if kind == 3
                else struct.unpack(f"{order}I", value)[0]
            )
    return (lengths[256], lengths[257]) if len(lengths) == 2 else None


def _avif(content: bytes) -> Size | None:
    """The largest of the sizes of its images: what OpenCV decodes is one of them."""
    found = re.findall(rb"ispe....(........)", content[:_SEARCHED], re.DOTALL)
    return max((struct.unpack(">II", size) for size in found), key=lambda size: size[0] * size[1])


def _jpeg2000(content: bytes) -> Size | None:
    height, width = struct.unpack_from(">II", content, content.index(b"ihdr", 0, _SEARCHED) + 4)
    return width, height


def _pnm(content: bytes) -> Size | None:
    words = re.sub(rb"#[^\n]*\n", b"\n", content[:4096]).split(maxsplit=3)
    return int(words[1]), int(words[2])


_FORMATS: tuple[tuple[bytes, Callable[[bytes], Size | None]], ...] = (
    (rb"\xff\xd8\xff", _jpeg),
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"GIF8[79]a", _gif),
    (rb"RIFF....WEBP", _webp),
    (rb"BM", _bmp),
    (rb"II\*\0|MM\0\*", _tiff),
    (rb"....ftypavi[fs]", _avif),
    (rb"\0\0\0\x0cjP  ", _jpeg2000),
    (rb"P[1-6]\s", _pnm),
)
"""What OpenCV's pictures begin with, and where each says how large it is."""

_EXPORT = "open it on the phone or PC and export it as JPEG"
_FOREIGN = (
    (
        rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)",
        "is a HEIC picture, which can't be decoded here; "
        "set the phone's camera to JPEG (iPhone: Settings, Camera, Formats, Most Compatible), "
        "or export it as JPEG",
    ),
    (rb"....ftypavi[fs]", f"is an AVIF picture, which can't be decoded here; {_EXPORT}"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"is a JPEG XL picture, which can't be decoded here; {_EXPORT}"),
    (
        rb"(II\*\0....CR|IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|\0MRM|FOVb|....ftypcrx)",
        "is a camera's RAW picture; export it as JPEG, or set the camera to JPEG",
    ),
    (rb"%PDF", "is a PDF; save its page as PNG or JPEG"),
    (rb"%!PS", "is a PostScript file; save its page as PNG or JPEG"),
    (rb"8BPS", "is a Photoshop file; export it as PNG or JPEG"),
    (rb"gimp xcf", "is a GIMP file; export it as PNG or JPEG"),
    (rb"\0\0\x01\0", "is an icon file; export it as PNG"),
    (
        rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg",
        "is an SVG drawing; export it as PNG",
    ),
    (rb"(?i)\s*<(!doctype )?html", "is a web page; download the picture itself"),
    (rb"version https://git-lfs", "is a pointer of Git LFS; run git lfs pull to get the picture"),
    (rb"PK\x03\x04", "is a zip or a document; unpack the pictures or export them as JPEG"),
    (
        rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ",
        "is a video; let the car play it: smartcar up --source FILE",
    ),
)
"""Well-known kinds of file that people take for pictures."""
