"""Fixtures for all tests: short folders for sockets, a ZeroMQ context, waiting on conditions."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import zmq

from services import catalogue as _catalogue  # noqa: F401  # fills the tables of topics and commands
from tests.disk import Disk

Value = TypeVar("Value")

PATIENCE_S = 60.0
"""How long tests wait for what an idle machine does at once: a busy one takes many times as long."""

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


def pytest_configure() -> None:
    """Ctrl-C reaches what the tests start, also where they run in a shell's background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first: at the end they would be waited for."""
    items.sort(key=lambda item: "tests/system/" not in item.nodeid)


def wait_for(condition: Callable[[], Value], within_s: float = PATIENCE_S, what: str = "") -> Value:
    """The first true value of `condition()`; fails the test where none comes in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"did not come within {within_s:g} s: {what or condition}")
        time.sleep(0.01)


def wait_for_words(file: Path, words: str) -> None:
    """Until the file that another process writes holds these words."""
    wait_for(lambda: file.exists() and words in file.read_text(errors="replace"), what=f"{words!r} in {file}")


def remove(folder: Path) -> None:
    """Take a folder away with all in it, bundles too, which nobody but root may change."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime folder with a short path: a socket's path may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_disk(runtime: Path) -> Iterator[Callable[[int], Disk]]:
    """Makes disks of so many megabytes."""
    made: list[Disk] = []

    def make(megabytes: int) -> Disk:
        made.append(Disk(runtime / f"disk{len(made)}", megabytes))
        return made[-1]

    yield make
    for disk in made:
        disk.unmount()


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A ZeroMQ context that takes its sockets along when the test ends."""
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The handwriting data sets, where they lie beside the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the handwriting data sets are not beside this repository")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, one for all tests."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield running
        running.close()
