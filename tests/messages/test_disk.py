"""Why a disk takes nothing, asked on real ones; the rest of it stands with who keeps something there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from messages.disk import is_held_back, why_not
from tests.conftest import REPOSITORY
from tests.disk import Disk

ASK = """
import sys
from pathlib import Path
from messages.disk import is_held_back
for _ in sys.stdin:
    print(is_held_back(Path(sys.argv[1])), flush=True)
"""


def test_a_process_with_mounts_of_its_own_notices_that_it_is_held_back(
    make_disk: Callable[[int], Disk],
) -> None:
    disk = make_disk(1)
    folder = disk.folder / "state"
    folder.mkdir()
    disk.read_only()
    words = ["unshare", "--mount", sys.executable, "-c", ASK, str(folder)]
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def is_held_there() -> bool:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            return process.stdout.readline() == "True\n"

        assert not is_held_there(), "the disk itself is read-only"
        disk.writable()
        assert is_held_there()
        assert not is_held_back(folder), "this process has the mounts of all"
        process.stdin.close()


def test_a_folder_that_is_not_there_holds_nobody_back(tmp_path: Path) -> None:
    assert not is_held_back(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EROFS, "is read-only; a card does that at its end"),
        (errno.ENOSPC, "is full; make room"),
        (errno.EIO, "fails (Input/output error); see what dmesg says"),
        (errno.EISDIR, "something else in its place"),
    ],
)
def test_each_fault_has_its_remedy(tmp_path: Path, number: int, says: str) -> None:
    assert says in why_not(tmp_path / "file", OSError(number, os.strerror(number)))


def test_a_disk_that_is_full_is_known_by_itself(make_disk: Callable[[int], Disk]) -> None:
    disk = make_disk(1)
    disk.fill_up()
    assert "is full; make room" in why_not(disk.folder / "file", ValueError("whatever"))
