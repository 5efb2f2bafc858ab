"""Digits as a model is shown them, and the golden ones that a bundle carries.

Light to import, as `models.inference.runtime` is: the throw-away process starts with these.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from messages.errors import ErrorCode
from models.bundle.zipped import refuse_large_directory
from models.refusal import BundleError, Refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 28
"""Height and width of a crop, in pixels, as `models.inference.normalise` makes it, which loads OpenCV."""
DIGITS = tuple("0123456789")
"""What the labels of a model are, in any order."""
GOLDEN_FILE = "golden.npz"
MAX_GOLDEN_BYTES = 4 << 20
"""Of the file, and of what it unpacks to."""
MAX_GOLDEN_DIGITS = 300

_UNREADABLE = (
    ValueError,
    OSError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What damaged or hostile bytes make zipfile and numpy raise."""


@dataclass(frozen=True)
class Golden:
    """Digits with their labels, to test a model on before it is used."""

    crops: NDArray[np.uint8]
    """(n, 28, 28), ink bright on black, normalised."""
    labels: tuple[str, ...]


def require_digits(labels: Sequence[str], title: str) -> None:
    """Raises Refusal, wrong_output, where a model's labels are not the ten digits, each once."""
    if sorted(labels) != sorted(DIGITS):
        named = ", ".join(labels)
        raise Refusal(
            ErrorCode.WRONG_OUTPUT,
            f"{title} has the labels {named[:80]}; the ten digits 0 to 9 are due. Train it on digits.",
        )


def golden_digits(packed: bytes, labels: Sequence[str], path: Path = Path(GOLDEN_FILE)) -> Golden:
    """The digits in the content of golden.npz, which was at `path`. Raises BundleError."""
    try:
        crops, names = _arrays(packed)
    except (*_UNREADABLE, Refusal) as error:
        raise BundleError("bad_golden", f"{path} can't be read: {error}") from None
    if crops.dtype != "uint8" or crops.ndim != 3 or crops.shape[1:] != (SIDE, SIDE):
        raise BundleError("bad_golden", f"{path} does not hold crops of {SIDE}×{SIDE} bytes.")
    written = tuple(str(label) for label in names.ravel().tolist())
    if not 1 <= len(crops) <= MAX_GOLDEN_DIGITS or len(written) != len(crops):
        raise BundleError(
            "bad_golden",
            f"{path} has {len(crops)} crops and {len(written)} labels; "
            f"as many of each are needed, 1 to {MAX_GOLDEN_DIGITS}.",
        )
    if strange := sorted(set(written) - set(labels)):
        raise BundleError("bad_golden", f"{path} has labels the model lacks: {', '.join(strange)}.")
    return Golden(crops, written)


def _arrays(packed: bytes) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
    """`crops` and `labels`, their unpacked size looked at before anything is unpacked."""
    refuse_large_directory(packed)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_GOLDEN_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than {MAX_GOLDEN_BYTES}")
    import numpy as np  # here, since all who look at a bundle's manifest come by

    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return arrays["crops"], arrays["labels"]
