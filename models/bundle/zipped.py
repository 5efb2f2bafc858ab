"""Read a small zip in memory, without trusting a word of it, and write one that is the same every time."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping

from messages.errors import ErrorCode
from models.refusal import Refusal

SIGNATURE = b"PK\x03\x04"
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError)
"""What damaged or hostile bytes make zipfile raise."""
_ENCRYPTED = 0x1
_END = struct.Struct("<4s4H2LH")
"""The record at a zip's end (PKWARE's APPNOTE, 4.3.16): among others how many bytes its directory has."""
_END_SIGNATURE, _ZIP64_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
_MOST_ENTRIES, _MOST_DIRECTORY_BYTES = 64, 64 << 10


def read(content: bytes, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The files in a zip: only those named in `limits`, none larger than its limit, nothing on disk.

    Raises Refusal: `bad_archive` where it is damaged, `unsafe_archive` where it holds what doesn't belong
    there, `too_large` where a file claims or unpacks to more than its limit.
    """
    refuse_large_directory(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read(archive, limits)
    except DAMAGE as error:
        raise Refusal(
            ErrorCode.BAD_ARCHIVE, f"The zip is damaged ({error}); copy or pack it again."
        ) from None


def refuse_large_directory(
    content: bytes,
    most_entries: int = _MOST_ENTRIES,
    most_bytes: int = _MOST_DIRECTORY_BYTES,
    *,
    zip64: bool = False,
) -> None:
    """Look at the length of a zip's directory before `zipfile` reads all of it.

    Raises Refusal: `unsafe_archive` where it has more entries than may be, or is a ZIP64 and may not be.
    """
    at = max(0, len(content) - _END.size)
    if content[at : at + 4] != _END_SIGNATURE or content[-2:] != b"\0\0":
        at = content.rfind(_END_SIGNATURE, max(0, len(content) - (1 << 16) - _END.size))
    if at < 0 or len(content) - at < _END.size:
        return  # zipfile says what is wrong with it
    _, _, _, _, entries, length, _, _ = _END.unpack_from(content, at)
    if not zip64 and _ZIP64_SIGNATURE in content[max(0, at - 20) : at]:
        raise _unsafe("it is a ZIP64, as only an archive of many or very large files is")
    if entries > most_entries or length > most_bytes:
        raise _unsafe(
            f"its directory has {entries} entries in {length} bytes, more than a model's files need"
        )


def _read(archive: zipfile.ZipFile, limits: Mapping[str, int]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in archive.infolist():
        name = entry.filename
        if name not in limits:
            raise _unsafe(f"it holds {name[:80]!r}, which doesn't belong there")
        if name in files:
            raise _unsafe(f"it holds {name!r} twice")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG) or entry.flag_bits & _ENCRYPTED:
            raise _unsafe(f"{name!r} is a link or encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _unsafe(f"{name!r} is compressed in an uncommon way")
        if entry.file_size > limits[name]:
            raise Refusal(
                ErrorCode.TOO_LARGE,
                f"{name!r} in the zip unpacks to {entry.file_size} bytes; {limits[name]} are allowed.",
            )
        with archive.open(entry) as file:
            held = file.read(entry.file_size + 1)
        if len(held) != entry.file_size:
            raise _unsafe(f"{name!r} unpacks to another size than it claims")
        files[name] = held
    return files


def _unsafe(what: str) -> Refusal:
    return Refusal(ErrorCode.UNSAFE_ARCHIVE, f"The zip is refused: {what}. Don't trust where it comes from.")


def write(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files, in the order of their names and without times: the same files, the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name], zipfile.ZIP_STORED)
    return packed.getvalue()
